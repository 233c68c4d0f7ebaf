"""What a test asks of the doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence

from tabario.doctor.findings import Finding, Verdict


def verdicts(findings: Sequence[Finding]) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in findings}


def faults(findings: Sequence[Finding]) -> dict[str, str]:
    """What is not well, by the name of the check."""
    assert all(finding.mend for finding in findings if finding.verdict is not Verdict.OK)
    return {finding.check: finding.message for finding in findings if finding.verdict is Verdict.FAIL}
