"""Everything a run needs, looked at without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rvpo.commands.engine import adapter_problem
from rvpo.commands.needs import asked_judges, judges_of_benchmarks, of_plan
from rvpo.config.judge import ServeConfig
from rvpo.config.judges import place_of
from rvpo.config.run import RunConfig
from rvpo.data.visited import visited
from rvpo.errors import ConfigError, RvpoError
from rvpo.plan.adapted import adapter_findings
from rvpo.plan.assumptions import card_of, read_assumptions
from rvpo.plan.benchmarks import benchmark_findings
from rvpo.plan.classifiers import classifier_findings
from rvpo.plan.comparing import compared_by, room_findings, with_comparisons
from rvpo.plan.data import Data, read_data
from rvpo.plan.device import Devices, device_findings
from rvpo.plan.disk import disk_findings
from rvpo.plan.judging import Load, asked_of, endpoint_findings, load, load_findings
from rvpo.plan.length import length_findings
from rvpo.plan.machine import Finding, Machine, diagnose
from rvpo.plan.model import describe, read_model
from rvpo.plan.rehearsal import rehearsal_findings
from rvpo.plan.shape import ModelShape
from rvpo.plan.times import times_of
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.extras import installed, require
from rvpo.trainer.deepspeed_check import check_deepspeed
from rvpo.trainer.kernels import check_kernels
from rvpo.trainer.optimizers.check import check_optimizer


@dataclass(frozen=True, slots=True)
class Plan:
    """The findings about a run before it starts."""

    findings: tuple[Finding, ...]

    @property
    def can_start(self) -> bool:
        """True where nothing is missing."""
        return all(finding.state != "missing" for finding in self.findings)


def plan(
    config: RunConfig,
    machine: Machine,
    gpus: int | None = None,
    gpu_memory_gib: float | None = None,
    nodes: int | None = None,
    assume: Sequence[str] = (),
) -> Plan:
    """Look at everything a run needs: data, model, judge, memory and disk.

    Nothing is trained or written. Each judge is asked one question at each endpoint.

    Args:
        machine: the one that `rvpo.plan.machine.examine` reads.
        gpus: GPUs to plan for, if not those of this machine.
        gpu_memory_gib: memory of each of them.
        nodes: machines with so many GPUs each; given, the plan has the times of a step too.
        assume: assumptions that these rest on, each NAME=VALUE.

    Raises:
        ConfigError: GPUs are to be planned for whose memory is unknown, there are too few nodes, an
            assumption is none, or packages that read models or ask the judge are not installed.
    """
    require("rvpo plan", *of_plan(config))
    devices = Devices.of(config, machine, gpus, gpu_memory_gib, nodes)
    assumed = read_assumptions(assume)
    card = card_of(assumed, devices.sold, None if devices.given else machine.name)
    findings = [*_installed(config, machine), *_libraries(config, devices), *_output(config)]
    data = read_data(config)
    findings += data.findings
    findings += benchmark_findings(config)
    model = read_model(config, visited(config, data.prompts).every)
    findings += model.findings
    findings += rehearsal_findings(config, data)
    findings += adapter_findings(config, model.shape)
    judging = _judging(config, data)
    findings += judging.findings
    findings += classifier_findings(config, model, len(data.held_out))
    if model.shape is None:
        unknown = Finding("memory", "note", "unknown without the size of the model")
        return Plan((*findings, unknown))
    findings += _answers(config, devices)
    tokens = model.prompt_tokens
    findings += device_findings(config, model.shape, judging.shapes, tokens, devices, machine)
    findings += disk_findings(config, model.shape, tokens, judging.loads)
    if devices.nodes is not None:
        findings += times_of(config, model, devices, card, assumed)
    return Plan(tuple(findings))


def _answers(config: RunConfig, devices: Devices) -> Sequence[Finding]:
    """Answers of servers that generate. What they are asked with comes with the engine that has
    them, of whose packages a missing one is a finding already."""
    if not installed("aiohttp"):
        return ()
    from rvpo.plan.reach import server_findings

    return server_findings(config, given=devices.given)


def _installed(config: RunConfig, machine: Machine) -> list[Finding]:
    """Findings at which `rvpo doctor` would stop and which this run needs; else that all is
    there."""
    missing = [f for f in diagnose(machine, config.rollout.engine) if f.state == "missing"]
    return missing or [Finding("packages", "ok", "all there")]


def _libraries(config: RunConfig, devices: Devices) -> list[Finding]:
    """The place of the engine and the options of other libraries, where a run would refuse them."""
    ranks, on_gpu = config.distributed.processes, devices.gpus > 0
    problem = config.rollout.engine.problem(
        on_gpu=on_gpu, concurrent=config.rollout.staleness > 0, alone=ranks == 1
    )
    problem = problem or adapter_problem(config.model, config.rollout, on_gpu=on_gpu)
    checks: list[tuple[str, Callable[[], None]]] = [
        ("update", partial(check_deepspeed, config, ranks, on_gpu=on_gpu)),
        ("update", partial(check_optimizer, config.update)),
        ("update", partial(check_kernels, config.update, on_gpu=on_gpu)),
    ]
    if not problem:
        checks.append(("rollout", config.rollout.engine.check_options))
    found = [Finding("rollout", "missing", problem)] if problem else []
    for part, check in checks:
        try:
            check()
        except ConfigError as error:
            found.append(Finding(part, "missing", str(error)))
    return found


def _output(config: RunConfig) -> list[Finding]:
    try:
        RunFolder(config.output).require_free()
    except RvpoError as error:
        return [Finding("output", "missing", str(error))]
    return [Finding("output", "ok", str(config.output))]


@dataclass(frozen=True, slots=True)
class _Judging:
    """The judges of a run, as far as they are known."""

    shapes: dict[str, ModelShape | None]
    """Sizes of those that are served, by name."""
    loads: dict[str, Load]
    """Loads by training and held-out prompts, by name."""
    findings: list[Finding]


def _judging(config: RunConfig, data: Data) -> _Judging:
    """The judges that are asked, and what is to say about each."""
    found = _Judging({}, {}, [])
    judges = config.every_judge
    rubrics = [name for name in judges if asked_of(config, name, data.rubrics)]
    compare = [name for name in judges if compared_by(config, name, data.comparisons)]
    graders = judges_of_benchmarks(config.evaluate.benchmarks, judges)
    asked = {*rubrics, *compare, *graders}
    for name in (name for name in judges if name in asked):
        judge = judges[name]
        load_of, findings = _load(config, data, name, asks=name in {*rubrics, *compare})
        found.findings.extend(findings)
        if load_of is not None:
            found.loads[name] = load_of
        found.findings.extend(room_findings(config, data.comparisons, data.prompts.every, name))
        if judge.serve is None:
            found.findings.extend(endpoint_findings(config, load_of, name))
        else:
            found.shapes[name], findings = _served(judge.serve, place_of(name))
            found.findings.extend(findings)
    if found.loads and len(found.loads) == len(rubrics):
        found.findings.extend(length_findings(config, data.rubrics, data.prompts.every))
    return _Judging(found.shapes, found.loads, [*found.findings, *_unasked(config)])


def _load(
    config: RunConfig, data: Data, name: str, *, asks: bool
) -> tuple[Load | None, list[Finding]]:
    """A judge's load by prompts, None where it has none or they are not known."""
    calls = f"{place_of(name)} calls"
    if not asks:
        return None, [Finding(calls, "ok", "none in training; benchmarks ask it")]
    if not data.train:
        return None, [Finding(calls, "note", "unknown without the prompts")]
    try:
        asked = load(config, data.rubrics, data.train, name)
        asked = with_comparisons(config, asked, data.comparisons, data.train, name)
    except ConfigError as error:  # its template cannot be read
        return None, [Finding(calls, "missing", str(error))]
    return asked, load_findings(config, asked, len(data.held_out), name)


def _served(serve: ServeConfig, where: str) -> tuple[ModelShape | None, list[Finding]]:
    """The size of a judge that the run serves, and whether it can be."""
    shape, finding = describe(serve.model, where, serve.trust_remote_code)
    if not installed("vllm"):
        lacks = "vLLM is not installed, which serves the judge"
        return shape, [finding, Finding(where, "missing", lacks, "rvpo doctor")]
    if finding.state == "missing":
        return shape, [finding]
    later = Finding(where, "note", "not asked: the run starts it, and waits for it")
    return shape, [finding, later]


def _unasked(config: RunConfig) -> list[Finding]:
    """Judges that have a name and no question, which may be a name forgotten elsewhere."""
    return [
        Finding(
            place_of(name),
            "note",
            "nothing asks it",
            f"rewards.NAME.judge={name}, evaluate.judge={name} or evaluate.gold.judge={name}, or "
            "leave it out",
        )
        for name in config.judges
        if name not in asked_judges(config)
    ]
