"""How a flow run gets its process: forked from an interpreter that has imported what the run needs."""
