"""`make evidence`: docs/evidence.md and the README's table, from what was measured.

What `build/` holds of `bench.json`, `chaos.json`, `soak.json`, `soak-24.json`, `coverage.json` and `mutants.json` goes
into docs/evidence.json, where a figure stays until it is measured again.
"""

from __future__ import annotations

import inspect
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.__main__ import OUTPUT, Benchmark, find_benchmarks
from tests.chaos.campaign import HEAL_SECONDS
from tests.fleet import scaling
from tests.fleet.soak import CALLERS
from tests.support.measured import read, write

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / OUTPUT.parent
PAGE: Final = ROOT / "docs" / "evidence.md"
KEPT: Final = PAGE.with_suffix(".json")
README: Final = ROOT / "README.md"
REASONS: Final = ROOT / "tests" / "mutation" / "reasons.toml"
"""Why no test notices a mutant, by its name."""
SCALING: Final = PAGE.with_name("scaling.md")
EARLIER: Final = 3
EXACT: Final = 1000.0
"""Larger numbers are shown without decimals."""
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"

INTRODUCTION: Final = """# Evidence

Made by `make evidence` from what `make bench`, `make chaos`, `make soak`, `make coverage` and `make mutants` wrote,
each when it was last run: the day is beside it, and `git log` tells what has changed in the code since. Each number is
the median of its rounds, in which ours, the baseline (another way to do it) and the limit (what no way could better)
took turns, or ran side by side where ComfyUI paints. The ratio is the median of the rounds' ratios, not the ratio of
the medians; of what to what, the list says. The spread is (largest - smallest) / median of the ratios of that run.
Earlier are the ratios of up to three runs before it, the oldest first: on another day a rerun differs as they do, by
more than the spread of one run. Machines had {cores} cores, on some days 1.7 times as slow as on others: compare
ratios, not seconds of two lines. `make bench ONLY=name` repeats one line. ComfyUI is a stand-in everywhere; no GPU was
measured.
"""
CHAOS: Final = """
## Faults

`make chaos SECONDS={seconds:.0f}` ({day}) broke a running stack {faults} times while users went on submitting.
Submissions {submissions} = accepted {accepted} + refused for want of a slot {refused} + put off with 503 {put_off}
+ unanswered {unanswered} + answered in another way {wrong_answers}. Those without an answer met a
front door that had just been killed. Seen in Prefect's own database and ComfyUI's own log, never in ours:
{oversold} slots oversold, {leaked} leaked,
{images_paid_twice} pictures paid twice, {jobs_lost} jobs lost, {metric_errors} counters off.
Faults met each other, so a time to heal includes the waiting for those that struck meanwhile; one that took more than
{HEAL_SECONDS:.0f} s would be told as not healed.
An earlier hour of them, and what a review found after it: [chaos-hour.md](chaos-hour.md).

| fault | times | healed after at most | not healed |
|---|---:|---:|---:|
"""
SOAK: Final = """
## Load

`make soak SECONDS={seconds:.0f}` ({day}): {users} users of both tiers, at most {callers} of them at a time, submitted
to a front door, and to a second one when that refused the connection, before {workers} workers and a stand-in that
paints at once, all on the same {cores} cores, of which {machine_busy:.0%} were busy. Submissions
{submissions} = accepted {accepted} + refused {refused} + unanswered {unanswered}. Accepted {accepted} = completed
{completed} + running {running} + waiting {waiting}; {other_ends} ended otherwise, {missing} are missing, {unknown}
runs are nobody's, {oversold} users ran more than their tier allows. Answers to a start, of which callers ask again
after a 503: {starts}.
{jobs_a_minute} films a minute; PostgreSQL had {database_connections} clients.

| what | p50 | p99 |
|---|---:|---:|
"""
MEMORY: Final = """
A wait is that of a job which began: those still queued at the end waited for longer, and count nowhere.

| memory of a service's first process, MiB | in each fifth of the time |
|---|---|
"""
TABLES: Final = """
Prefect's database forgets a run 30 days after its end and an event after 7; its largest tables were
{tables}.
"""
COSTS: Final = """
`make soak USERS=24 SECONDS={seconds:.0f}` ({day}), on {cores} cores of which {machine_busy:.0%} were busy, with a short
queue: of {accepted} accepted jobs {completed} were completed and {waiting} waited at the end. What is used each second
while nobody asks for anything, and what each completed job of its second half added to that. In Redis our own keys
hold {kept_in_redis} kB for each accepted job at the end.

| what | idle, a second | a job |
|---|---:|---:|
"""
COVERAGE: Final = """
## Tests

`make coverage` ({day}): the tests take {tabario:.1f} % of the core's lines and branches and {api:.1f} % of the front
door's.
"""
MUTANTS: Final = """
`make mutants` changed the slots in {mutants} places, one at a time. Tests noticed {killed}.

| module | places | noticed | tried or touched last |
|---|---:|---:|---|
"""
UNNOTICED: Final = """
| a change that no test notices | why |
|---|---|
"""
HIGHLIGHTS: Final[Mapping[str, str]] = {
    "image_loop_busy_1_job": "share of a loop in which ComfyUI paints, 2 s each, over asking every 5 s (more: better)",
    "merge_vs_encoder": "CPU of the merge over the bare encoder's (less: better)",
    "merge_vs_peer": "how much faster than MoviePy clips and a second encode, in CPU (more: better)",
    "submit_vs_prefect": "time of a submission over the three bare calls to Prefect (less: better)",
    "first_task_vs_stock": "time to the first task over a stock worker's (less: better)",
    "exporter_poll_calls": "calls of a poll with 20,000 runs over reading them all (less: better)",
}
"""What stands in the README."""


def evidence(found: Mapping[str, Any], benchmarks: Mapping[str, Benchmark]) -> str:
    """The page: what was found, by the names of the files in `build/`, of which any may be missing."""
    bench = found.get("bench") or {}
    unknown = bench.keys() - benchmarks.keys()
    if unknown:
        raise KeyError(f"there are figures of benchmarks that do not exist: {', '.join(sorted(unknown))}")
    chosen = {name: bench[name] for name in benchmarks if name in bench}
    parts = [INTRODUCTION.format(cores=_cores(chosen)), "\n## Benchmarks\n\n", *_lines(_table(chosen)), "\n"]
    parts += [f"- `{name}`: {_explanation(benchmarks[name])}\n" for name in chosen]
    if chaos := found.get("chaos"):
        times = sum(fault["injected"] for fault in chaos["faults"].values())
        parts.append(CHAOS.format(**{**chaos, "faults": times}, HEAL_SECONDS=HEAL_SECONDS))
        parts += _lines(
            f"| {name.replace('_', ' ')} | {fault['injected']} | {fault['healed_max_s']:.1f} s | {fault['unhealed']} |"
            for name, fault in chaos["faults"].items()
        )
    if soak := found.get("soak"):
        parts += _soak(soak)
    if steady := found.get("soak-24"):
        parts += _costs(steady)
    if coverage := found.get("coverage"):
        parts.append(COVERAGE.format(**coverage))
    if mutants := found.get("mutants"):
        parts += _mutants(mutants)
    return "".join(parts)


def _mutants(modules: Mapping[str, Any]) -> Iterable[str]:
    killed = {name: module["ends"].get("killed", 0) for name, module in modules.items()}
    yield MUTANTS.format(mutants=sum(module["mutants"] for module in modules.values()), killed=sum(killed.values()))
    yield from _lines(
        f"| `slots.{name}` | {module['mutants']} | {killed[name]} | {module['day']} |"
        for name, module in modules.items()
    )
    unnoticed = {mutant: what for module in modules.values() for mutant, what in module["noticed_by_nobody"].items()}
    if unnoticed:
        reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))
        yield UNNOTICED
        for mutant, change in unnoticed.items():
            shown = change.replace("|", r"\|")
            yield f"| `{_place(mutant)}`: `{shown}` | {reasons.get(mutant, 'a test is missing')} |\n"


def _place(mutant: str) -> str:
    """The method or function that mutmut changed, from the name it gives to the mutant."""
    module, _, function = mutant.removeprefix("tabario.").partition(".x")
    name = function.rpartition("__mutmut_")[0].strip("ǁ").replace("ǁ", ".").removeprefix("_")
    return f"{module}.{name}"


def _soak(soak: Mapping[str, Any]) -> Iterable[str]:
    starts = ", ".join(
        f"{times} x {answer.removeprefix('start ')}" for answer, times in soak["answers"].items() if "start" in answer
    )
    yield SOAK.format(**soak, callers=CALLERS, starts=starts)
    rows = {f"answer to {route}": times for route, times in soak["latency"].items()}
    rows |= {f"wait in the queue {queue}": times for queue, times in soak["queue_wait"].items()}
    yield from _lines(f"| {what} | {_number(p50)} s | {_number(p99)} s |" for what, (p50, p99) in rows.items())
    yield MEMORY
    yield from _lines(f"| {service} | {', '.join(map(str, sizes))} |" for service, sizes in soak["memory"].items())
    tables = ", ".join(f"{name} ({size / 1000:.1f} MB)" for name, size in soak["largest_tables"].items())
    yield TABLES.format(tables=tables)


def _costs(soak: Mapping[str, Any]) -> Iterable[str]:
    yield COSTS.format(**soak)
    idle = soak["idle"]
    yield from _lines(f"| {what} | {idle[what]:.3g} | {_number(cost)} |" for what, cost in soak["costs"].items())


def with_highlights(readme: str, bench: Mapping[str, Any]) -> str:
    """The README with its table made anew."""
    rows = [
        f"| {what} | {_number(bench[name]['ratio'])} | {_spread(bench[name])} | {_earlier(bench[name])} |"
        for name, what in HIGHLIGHTS.items()
        if name in bench
    ]
    return with_table(
        readme,
        _lines(
            [
                "| measured in turns or side by side (`make bench`) | ratio | spread | earlier |",
                "|---|---:|---:|---:|",
                *rows,
            ]
        ),
    )


def with_table(page: str, lines: Iterable[str]) -> str:
    """A page with what stands between its marks made anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{''.join(lines)}{END}{after}"


def scaled(page: str, found: Mapping[str, Any]) -> str:
    """docs/scaling.md with its figures made anew."""
    return with_table(page, scaling.page(found))


def covered(report: Mapping[str, Any]) -> dict[str, Any]:
    """The percentage of lines and branches that tests take, by package; `report` is that of `coverage json`."""
    taken, all_of_them = Counter[str](), Counter[str]()
    for path, file in report["files"].items():
        package, summary = Path(path).parts[0], file["summary"]
        taken[package] += summary["covered_lines"] + summary["covered_branches"]
        all_of_them[package] += summary["num_statements"] + summary["num_branches"]
    shares = {package: 100 * taken[package] / count for package, count in all_of_them.items()}
    return {"day": report["meta"]["timestamp"].partition("T")[0], **shares}


def _cores(bench: Mapping[str, Any]) -> str:
    return " or ".join(str(cores) for cores in sorted({one["cores"] for one in bench.values()}))


def _table(bench: Mapping[str, Any]) -> Iterable[str]:
    yield "| benchmark | ours | baseline | limit | unit | ratio | spread | earlier | rounds | day |"
    yield "|---|---:|---:|---:|---|---:|---:|---:|---:|---|"
    for name, one in bench.items():
        numbers = " | ".join(_number(one[key]) for key in ("ours", "baseline", "limit"))
        ratio = f"{_number(one['ratio'])} | {_spread(one)} | {_earlier(one)}"
        yield f"| `{name}` | {numbers} | {one['unit']} | {ratio} | {one['rounds']} | {one['day']} |"


def _spread(figures: Mapping[str, Any]) -> str:
    return f"{figures['spread']:.0%}" if figures["rounds"] > 1 else "-"


def _earlier(figures: Mapping[str, Any]) -> str:
    return ", ".join(map(_number, figures.get("earlier", ()))) or "-"


def with_earlier(kept: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept, with what has been measured since; a line that is replaced leaves its ratio as an earlier one."""
    lines = dict(kept)
    for name, line in measured.items():
        before = dict(kept.get(name, {}))
        earlier = before.pop("earlier", [])
        if before and before != line:
            earlier = [*earlier, before["ratio"]][-EARLIER:]
        lines[name] = {**line, "earlier": earlier}
    return lines


def _number(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.0f}" if number >= EXACT else f"{number:.3g}"


def _lines(lines: Iterable[str]) -> list[str]:
    return [f"{line}\n" for line in lines]


def _explanation(benchmark: Benchmark) -> str:
    return " ".join((inspect.getdoc(benchmark) or "").split())


def main() -> None:
    """Writes the page, its figures, and the README's table."""
    kept = read(KEPT) or {}
    found = {name: read(BUILD / f"{name}.json") or kept.get(name) for name in ("chaos", "soak", "soak-24")}
    bench = with_earlier(kept.get("bench", {}), read(BUILD / OUTPUT.name) or {})
    mutants = dict(sorted((kept.get("mutants", {}) | (read(BUILD / "mutants.json") or {})).items()))
    report = read(BUILD / "coverage.json")
    found |= {
        "bench": bench,
        "mutants": mutants,
        "coverage": covered(report) if report else kept.get("coverage"),
    }
    pages = {
        PAGE: evidence(found, find_benchmarks()),
        README: with_highlights(README.read_text(encoding="utf-8"), bench),
        SCALING: scaled(SCALING.read_text(encoding="utf-8"), found),
    }
    write(KEPT, found)
    for path, page in pages.items():
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
