"""Everything a run needs, looked at without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rvpo.commands.engine import adapter_problem
from rvpo.commands.needs import of_plan
from rvpo.config.run import RunConfig
from rvpo.data.visited import visited
from rvpo.errors import ConfigError, RvpoError
from rvpo.plan.adapted import adapter_findings
from rvpo.plan.assumptions import card_of, read_assumptions
from rvpo.plan.benchmarks import benchmark_findings
from rvpo.plan.classifiers import classifier_findings
from rvpo.plan.data import Data, read_data
from rvpo.plan.device import Devices, device_findings
from rvpo.plan.disk import disk_findings
from rvpo.plan.judging import Load, endpoint_findings, load, load_findings
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

    Nothing is trained or written. The judge is asked one question at each endpoint.

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
    judge, asked, judged = _judge(config, data)
    findings += judged
    findings += classifier_findings(config, model, len(data.held_out))
    if model.shape is None:
        unknown = Finding("memory", "note", "unknown without the size of the model")
        return Plan((*findings, unknown))
    findings += _answers(config, devices)
    findings += device_findings(config, model.shape, judge, model.prompt_tokens, devices, machine)
    findings += disk_findings(config, model.shape, model.prompt_tokens, asked)
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


def _judge(config: RunConfig, data: Data) -> tuple[ModelShape | None, Load | None, list[Finding]]:
    """The size of a served judge, its load as far as it is known, and what is to say about it."""
    if config.judge is None or not (data.rubrics or config.evaluate.benchmarks.needs_judge):
        return None, None, []
    findings: list[Finding] = []
    asked = None
    if not data.rubrics:
        findings.append(Finding("judge calls", "ok", "none in training; benchmarks ask it"))
    elif data.train:
        asked = load(config, data.rubrics, data.train)
        findings += load_findings(config, asked, len(data.held_out))
        findings += length_findings(config, data.rubrics, data.prompts.every)
    else:
        findings.append(Finding("judge calls", "note", "unknown without the prompts"))
    served = config.judge.serve
    if served is None:
        return None, asked, [*findings, *endpoint_findings(config, asked)]
    shape, finding = describe(served.model, "judge", served.trust_remote_code)
    findings.append(finding)
    if not installed("vllm"):
        findings.append(
            Finding(
                "judge", "missing", "vLLM is not installed, which serves the judge", "rvpo doctor"
            )
        )
    elif finding.state != "missing":
        findings.append(Finding("judge", "note", "not asked: the run starts it, and waits for it"))
    return shape, asked, findings
