"""Metrics from log lines in CloudWatch's embedded metric format (EMF), as CloudWatch Logs extracts them."""

import base64
import json
from collections.abc import Iterator

from simulator.metrics import Datum, MetricKey, metric_key, samples


def metrics_in(log_tail: str) -> Iterator[tuple[MetricKey, Datum]]:
    """Yield every metric in the tail of a log as Lambda returns it: base64, the last 4 KiB.

    The first line may be cut in two and is no JSON then; lines that are no metrics are passed over.
    """
    for line in base64.b64decode(log_tail).decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or "_aws" not in entry:
            continue
        for directive in entry["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = [{"Name": name, "Value": entry[name]} for name in names]
                for metric in directive["Metrics"]:
                    values = entry[metric["Name"]]
                    values = values if isinstance(values, list) else [values]
                    key = metric_key(directive["Namespace"], metric["Name"], dimensions)
                    yield key, samples(values, [1.0] * len(values))
