"""`tidegate backtest`: what each policy would have made of a load."""

from pathlib import Path
from typing import Annotated

import typer

from cli import backtest
from cli.options import (
    AwsProfile,
    Csv,
    EndpointUrl,
    LoadMode,
    Maximum,
    Minimum,
    OfEndpoint,
    OfVariant,
    PerInstance,
    Price,
    Provisioning,
    Region,
    Use,
    clients,
)
from cli.output import log
from simulator.cases import Mode
from simulator.report import write_report

app = typer.Typer()


@app.command(name="backtest")
def backtest_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    csv: Csv = None,
    *,
    endpoint: OfEndpoint = None,
    variant: OfVariant = "AllTraffic",
    mode: LoadMode = Mode.REALTIME,
    policy: Annotated[Path | None, typer.Option(help="Policy file, with --use: what Tidegate plays under.")] = None,
    use: Use = None,
    capacity: PerInstance = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    provisioning: Provisioning = 6,
    objective: Annotated[int, typer.Option(min=1, help="Queues: minutes from arrival to result.")] = 15,
    concurrency: Annotated[int, typer.Option(min=1, help="Queues: items an instance works on at once.")] = 1,
    price: Price = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and results as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts there.")] = None,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    r"""Show what Tidegate and every other policy would have done with a load, and what it would have cost.

    The load is a file, or the last 14 days of an endpoint, which are read from CloudWatch and nothing else. Tidegate
    plays through the very code that Lambda runs; the first 7 days warm up, the rest is judged.

    \b
    Examples:
      tidegate backtest traces/servegen_small_c31.csv --html out.html
      tidegate backtest traces/servegen_large_c48.csv --mode async --objective 30 --price 1.41
      tidegate backtest --endpoint orders --capacity 400 --min 2 --max 20 --json
      tidegate backtest traces/servegen_small_c31.csv --policy fleet.yaml --use chat-realtime
    """
    load = backtest.Load(
        csv=csv,
        endpoint=endpoint,
        variant=variant,
        mode=mode,
        policy=policy,
        use=use,
        capacity=capacity,
        minimum=minimum,
        maximum=maximum,
        provisioning=provisioning,
        objective=objective,
        concurrency=concurrency,
    )
    case, wanted = load.case(clients(context, region, profile, endpoint_url), price)
    verdict = backtest.judged(case, wanted)
    if as_json:
        typer.echo(backtest.dumped(backtest.document(verdict, wanted)))
    else:
        backtest.show(verdict, wanted)
    if html is not None:
        write_report(backtest.page_of(verdict, wanted), html)
        log(f"Page: {html}")
