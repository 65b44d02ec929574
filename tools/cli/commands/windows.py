"""`tidegate windows`: batch windows."""

from pathlib import Path
from typing import Annotated

import typer

from cli.load_options import (
    Csv,
    LoadMode,
    Maximum,
    Minimum,
    OfEndpoint,
    OfVariant,
    PerInstance,
    Price,
    Provisioning,
    Use,
)
from cli.options import AwsProfile, EndpointUrl, Region, clients
from cli.output import print_json, working
from simulator.cases import Mode

app = typer.Typer(name="windows", help="Find load that recurs, and propose batch windows for it.", no_args_is_help=True)


@app.callback()
def _windows() -> None:
    """Find load that recurs, and propose batch windows for it."""


@app.command(name="propose")
def propose_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    csv: Csv = None,
    *,
    endpoint: OfEndpoint = None,
    variant: OfVariant = "AllTraffic",
    mode: LoadMode = Mode.REALTIME,
    policy: Annotated[Path | None, typer.Option(help="Policy file, with --use: what windows join.")] = None,
    use: Use = None,
    capacity: PerInstance = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    provisioning: Provisioning = 6,
    timezone: Annotated[str, typer.Option(help="IANA zone whose clock the jobs go by.")] = "UTC",
    price: Price = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and proposals as JSON.")] = False,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Propose windows for load that comes at about one time on most days, and say what each would have been worth.

    The load is a file, or the last 14 days of an endpoint, which are read from CloudWatch and nothing else. Nothing is
    switched on: paste what you want under a profile's `windows`. The figures are of the days after the first 7.

    \b
    Examples:
      tidegate windows propose traces/servegen_large_c149.csv --capacity 23
      tidegate windows propose --endpoint scoring --policy fleet.yaml --use nightly-batch --json
    """
    from cli import backtest, windows

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
    )
    zone = windows.zone_of(timezone)
    with working("Looking for load that recurs, and playing windows for it") as told:
        case, wanted = load.case(clients(context, region, profile, endpoint_url), price)
        windows.refuse_unsized(load, case, wanted)
        found = windows.proposals(case, wanted, zone, told)
    if as_json:
        print_json(windows.document(case, found, wanted))
    else:
        windows.show(case, found, wanted)
