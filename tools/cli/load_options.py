"""Where a load comes from and the endpoint that it meets, as `backtest` and `windows propose` take it."""

from pathlib import Path
from typing import Annotated

import typer

from simulator.cases import Mode

Csv = Annotated[Path | None, typer.Argument(help="Trace: timestamp,requests[,work_seconds]; UTC, gzip too.")]
OfEndpoint = Annotated[str | None, typer.Option(help="Instead of a file: this endpoint's CloudWatch history.")]
OfVariant = Annotated[str, typer.Option(help="Its variant.")]
LoadMode = Annotated[Mode, typer.Option(help="How the load meets the endpoint.")]
Use = Annotated[str | None, typer.Option(help="Profile of the policy file.")]
PerInstance = Annotated[float | None, typer.Option(min=1e-6, max=1e9, help="Requests/min an instance serves in time.")]
Minimum = Annotated[int | None, typer.Option("--min", min=0, max=10_000, help="Fewest instances.")]
Maximum = Annotated[int | None, typer.Option("--max", min=1, max=10_000, help="Most instances.")]
Provisioning = Annotated[int, typer.Option(min=0, max=1440, help="Minutes from an order until instances serve.")]
Price = Annotated[float | None, typer.Option(min=0, max=1e9, help="Of an instance-hour, in any currency.")]
