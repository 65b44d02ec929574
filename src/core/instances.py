"""How many vCPUs an instance type has: SageMaker's CPUUtilization runs to 100 x vCPU (facts 3.1)."""

import re

_BY_SIZE = re.compile(r"^ml\.[a-z0-9-]+\.(?:(?P<times>\d+)xlarge|(?P<one>xlarge)|(?P<half>large))$")


def vcpus_of(instance_type: str) -> int | None:
    """Return the vCPUs of an instance type, or None where its name does not tell.

    In every EC2 family a `large` has 2, an `xlarge` 4 and an `N xlarge` 4 N vCPUs (all 30 types of facts 3.1 agree);
    `medium` and `metal` sizes follow no rule, so the policy must state their `vcpus`.
    """
    match = _BY_SIZE.match(instance_type)
    if match is None:
        return None
    if match["times"]:
        return 4 * int(match["times"])
    return 4 if match["one"] else 2
