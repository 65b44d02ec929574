"""`tidegate backtest`: what each policy would have made of a load, or of every endpoint of an account."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import MisusedError
from cli.load_options import Csv, LoadMode, Maximum, Minimum, OfEndpoint, OfVariant, PerInstance, Provisioning, Use
from cli.options import AwsProfile, Clients, EndpointUrl, Region, clients
from cli.output import check_writable, log, print_json
from simulator.cases import Mode

if TYPE_CHECKING:
    from cli.account_backtest import Asked

app = typer.Typer()


@app.command(name="backtest")
def backtest_command(  # noqa: PLR0913 - one argument an option
    context: typer.Context,
    csv: Csv = None,
    *,
    endpoint: OfEndpoint = None,
    variant: OfVariant = "AllTraffic",
    mode: LoadMode = Mode.REALTIME,
    account: Annotated[
        bool, typer.Option("--account", help="Instead: every endpoint of the account's Region.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Of the account only this endpoint; repeat for more.")] = None,
    sized: Annotated[
        list[str] | None, typer.Option(help="NAME=REQUESTS: what an instance of an account's endpoint serves a minute.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file, with --use: what Tidegate plays under.")] = None,
    use: Use = None,
    capacity: PerInstance = None,
    minimum: Minimum = None,
    maximum: Maximum = None,
    provisioning: Provisioning = 6,
    objective: Annotated[int, typer.Option(min=1, max=1440, help="Queues: minutes from arrival to result.")] = 15,
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Queues: items an instance works on at once.")
    ] = 1,
    price: Annotated[
        list[str] | None, typer.Option(help="Of an instance-hour: 1.41, or TYPE=1.41 once for each type.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="Prices by instance type, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and results as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts there; of an account a folder.")] = None,
    region: Region = None,
    profile: AwsProfile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Show what Tidegate and every other policy would have done with a load, and what it would have cost.

    The load is a file, or the last 14 days of an endpoint, which are read from CloudWatch and nothing else. Tidegate
    plays through the very code that Lambda runs; the first 7 days warm up, the rest is judged.

    With --account every endpoint is read and judged under what it has now (its own policies, replayed), plain AAS at
    its best, and Tidegate; a folder of pages shows them. Prices come from AWS's Pricing API where none are given.
    Nothing is written to the account.

    \b
    Examples:
      tidegate backtest traces/servegen_small_c31.csv --html out.html
      tidegate backtest traces/servegen_large_c48.csv --mode async --objective 30 --price 1.41
      tidegate backtest --endpoint orders --capacity 400 --min 2 --max 20 --json
      tidegate backtest traces/servegen_small_c31.csv --policy fleet.yaml --use chat-realtime
      tidegate backtest --account --html out/fleet
      tidegate backtest --account --only orders --sized orders=400 --price ml.m5.xlarge=0.23 --json
      tidegate backtest --account --policy fleet.yaml --prices prices.json
    """
    from cli import account_backtest, backtest
    from cli.policy_file import read_policy_file
    from cli.prices import Prices, given_prices
    from simulator.report import write_report

    given = given_prices(price or (), prices)
    if html is not None:
        check_writable("--html", html, folder=account)
        if csv is not None and html.exists() and csv.exists() and html.samefile(csv):
            raise MisusedError(f"--html = {str(html)!r}: is the trace itself, which the page would replace")
    if account:
        alone = {
            "a trace file": csv,
            "--endpoint": endpoint,
            "--variant": variant != "AllTraffic",
            "--use": use,
            "--capacity": capacity,
            "--min": minimum,
            "--max": maximum,
            "--mode": mode is not Mode.REALTIME,
            "--concurrency": concurrency != 1,
        }
        if said := [name for name, value in alone.items() if value]:
            raise MisusedError(f"--account reads everything of the endpoints itself: leave {', '.join(said)} out")
        aws = clients(context, region, profile, endpoint_url)
        asked = account_backtest.Asked(
            capacities=account_backtest.given_capacities(sized or ()),
            policy=read_policy_file(policy) if policy else None,
            prices=Prices(given=given, aws=aws),
            provisioning=provisioning,
            objective=objective,
        )
        _account(aws, asked, only or (), html, as_json=as_json)
        return
    if only or sized:
        raise MisusedError("--only and --sized go with --account")
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
    case, wanted = load.case(clients(context, region, profile, endpoint_url), given.get("*"))
    verdict = backtest.judged(case, wanted)
    if as_json:
        print_json(backtest.document(verdict, wanted))
    else:
        backtest.show(verdict, wanted)
    if html is not None:
        write_report(backtest.page_of(verdict, wanted), html)
        log(f"Page: {html}")


def _account(aws: Clients, asked: "Asked", only: Sequence[str], folder: Path | None, *, as_json: bool) -> None:
    """Judge an account's endpoints, and say what came of it."""
    from cli import account_backtest
    from core.aws import clock
    from simulator.report import write_overview

    estate, found, skipped = account_backtest.read_all(aws, asked, clock.now(), only)
    lines, failed = account_backtest.judge_all(found, folder)
    skipped += failed
    page = account_backtest.overview(estate, lines, skipped, asked.prices)
    if as_json:
        print_json(account_backtest.as_json(estate, lines, skipped, asked.prices))
    else:
        account_backtest.show(page)
    if folder is not None:
        log(f"Page: {write_overview(page, folder)}")
