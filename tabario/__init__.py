"""The core of Tabario Flows: what the flows, the front door and the monitoring share."""
