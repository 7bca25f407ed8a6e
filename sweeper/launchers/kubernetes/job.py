"""Rules of a Job and of a CronJob."""

from collections.abc import Iterator

from sweeper.launchers.kubernetes.cron import cron_fault, time_zone_fault
from sweeper.launchers.kubernetes.field_path import Node, when
from sweeper.launchers.kubernetes.names import MOST_SIGNS, label_fault
from sweeper.launchers.kubernetes.pod import containers_of, label_mistakes, pod_mistakes

#: What a CronJob's controller puts behind its name for each Job.
_N_TIME_SIGNS = 11
#: A CronJob is looked after every 10 s, and what is late by less is missed.
_LEAST_DEADLINE_S = 10
_MOST_RULES = 20
_LEAST = {
    "completions": 1,
    "parallelism": 1,
    "backoffLimit": 0,
    "backoffLimitPerIndex": 0,
    "maxFailedIndexes": 0,
    "activeDeadlineSeconds": 1,
    "ttlSecondsAfterFinished": 0,
}


def job_mistakes(name: Node, spec: Node, *, n_more_signs: int = 0) -> Iterator[str]:
    """What of a Job Kubernetes would not take, or would take and never end well.

    Args:
        name: Of the Job, or of what makes it.
        spec: Of the Job.
        n_more_signs: How much longer the Job's name will be.
    """
    n_completions = spec.at("completions").number or 1
    is_indexed = spec.at("completionMode").text == "Indexed"
    n_index_signs = len(f"-{n_completions - 1}") if is_indexed else 0
    yield from when(label_fault(name.text, MOST_SIGNS - n_more_signs - n_index_signs), name)
    for key, least in _LEAST.items():
        yield from spec.at(key).below(least)
    yield from _completion_mistakes(spec, is_indexed)
    restart = spec.at("template", "spec", "restartPolicy")
    yield from restart.beside("Never", "OnFailure", default="Always")
    yield from _policy_mistakes(spec)
    yield from label_mistakes(spec.at("template", "metadata", "labels"))
    yield from pod_mistakes(spec.at("template", "spec"))


def schedule_mistakes(name: Node, spec: Node) -> Iterator[str]:
    """What of a CronJob Kubernetes would not take, or would take and never start."""
    yield from when(cron_fault(spec.at("schedule").text), spec.at("schedule"))
    zone = spec.at("timeZone")
    if zone.is_given:
        yield from when(time_zone_fault(zone.text), zone)
    yield from spec.at("concurrencyPolicy").beside("Allow", "Forbid", "Replace", default="Allow")
    yield from spec.at("startingDeadlineSeconds").below(_LEAST_DEADLINE_S)
    for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from spec.at(key).below(0)
    template = spec.at("jobTemplate")
    yield from label_mistakes(template.at("metadata", "labels"))
    yield from job_mistakes(name, template.at("spec"), n_more_signs=_N_TIME_SIGNS)


def _completion_mistakes(spec: Node, is_indexed: bool) -> Iterator[str]:
    yield from spec.at("completionMode").beside("Indexed", "NonIndexed", default="NonIndexed")
    completions, parallelism = spec.at("completions"), spec.at("parallelism")
    if is_indexed and not completions.is_given:
        yield completions.mistake("is needed where completionMode is Indexed")
    per_index, most_failed = spec.at("backoffLimitPerIndex"), spec.at("maxFailedIndexes")
    if per_index.is_given and not is_indexed:
        yield per_index.mistake("needs completionMode: Indexed")
    if per_index.is_given and spec.at("template", "spec", "restartPolicy").text != "Never":
        yield per_index.mistake("needs restartPolicy: Never in the template")
    if most_failed.is_given and not per_index.is_given:
        yield most_failed.mistake("needs backoffLimitPerIndex")
    for node in (parallelism, most_failed):
        if node.number is not None and node.number > (completions.number or node.number):
            yield node.mistake(f"must not be more than completions, which is {completions.number}")


def _policy_mistakes(spec: Node) -> Iterator[str]:
    policy = spec.at("podFailurePolicy")
    if not policy.is_given:
        return
    restart = spec.at("template", "spec", "restartPolicy")
    if restart.text != "Never":
        yield restart.mistake("must be Never beside podFailurePolicy")
    if spec.at("podReplacementPolicy").is_given:
        yield from spec.at("podReplacementPolicy").beside("Failed")
    rules = list(policy.at("rules").each())
    if not 0 < len(rules) <= _MOST_RULES:
        yield policy.at("rules").mistake(f"must have 1 to {_MOST_RULES} rules")
    containers = containers_of(spec.at("template", "spec"))
    names = [container.at("name").text for container in containers]
    for rule in rules:
        yield from _rule_mistakes(rule, names, spec.at("backoffLimitPerIndex").is_given)


def _rule_mistakes(rule: Node, containers: list[str], has_limit: bool) -> Iterator[str]:
    action, codes, conditions = (rule.at(k) for k in ("action", "onExitCodes", "onPodConditions"))
    yield from action.beside("FailJob", "FailIndex", "Ignore", "Count")
    if action.text == "FailIndex" and not has_limit:
        yield action.mistake("needs backoffLimitPerIndex")
    if codes.is_given == bool(conditions.value):
        yield rule.mistake("must have either onExitCodes or onPodConditions")
    for condition in conditions.each():
        yield from condition.at("status").beside("True", "False", "Unknown", default="True")
    if codes.is_given:
        yield from _code_mistakes(codes, containers)


def _code_mistakes(codes: Node, containers: list[str]) -> Iterator[str]:
    operator, values, container = (codes.at(k) for k in ("operator", "values", "containerName"))
    yield from operator.beside("In", "NotIn")
    numbers = [node.number or 0 for node in values.each()]
    if not numbers or numbers != sorted(set(numbers)):
        yield values.mistake("must be exit codes in rising order, each once")
    if 0 in numbers and operator.text == "In":
        yield values.mistake("0 is no failure; drop it")
    if container.is_given and container.text not in containers:
        yield container.mistake(f"there is no such container; the pod has {', '.join(containers)}")
