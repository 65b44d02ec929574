"""What an instance-hour costs: as given, or AWS's own list price of hosting, on demand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.errors import MisusedError
from core.aws.errors import reading
from core.errors import ObservationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cli.estate import Source

SERVICE, HOSTING = "AmazonSageMaker", "Hosting"


class PriceError(MisusedError):
    """A price that is none."""


@dataclass(slots=True)
class Prices:
    """Prices of an instance-hour by instance type; what nobody gave is looked up once."""

    given: Mapping[str, float]
    """By instance type; `*` is any other."""

    aws: Source | None
    """Where the client of the Pricing API comes from; None looks nothing up."""

    region: str = ""

    looked_up: dict[str, float | None] = field(default_factory=dict)
    trouble: str | None = None
    """Why AWS's prices are not known, of the first that were not."""

    def of(self, instance_type: str | None) -> float | None:
        """Return the price of an hour, None if it is not known."""
        if instance_type is None:
            return None
        known = self.given.get(instance_type, self.given.get("*"))
        if known is not None or self.aws is None:
            return known
        if instance_type not in self.looked_up:
            self.looked_up[instance_type] = self._asked(instance_type)
        return self.looked_up[instance_type]

    def _asked(self, instance_type: str) -> float | None:
        try:
            price = list_price(self.aws.of("pricing"), self.region, instance_type) if self.aws else None
        except ObservationError as error:
            self.trouble = self.trouble or str(error)
            self.aws = None  # who may not ask for one price may ask for none
            return None
        if price is None:
            self.trouble = self.trouble or f"the Pricing API lists no {HOSTING.lower()} of {instance_type} here"
        return price

    @property
    def source(self) -> str:
        """Where the prices come from, in words."""
        said = []
        if self.given:
            said.append("as given with --price or --prices")
        if any(price is not None for price in self.looked_up.values()):
            said.append(f"list prices on demand in {self.region}, USD, from AWS's Pricing API")
        if self.trouble:
            said.append(f"not known: {self.trouble}; give them with --price TYPE=PRICE")
        return "; ".join(said) or "not asked for"


def list_price(pricing: Any, region: str, instance_type: str) -> float | None:  # noqa: ANN401 - boto3's client
    """Return USD for an hour of hosting on demand, None if AWS lists none.

    Raises:
        ObservationError: the Pricing API cannot be read.
    """
    fields = {"regionCode": region, "instanceName": instance_type, "component": HOSTING}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
    with reading(f"pricing:GetProducts of {instance_type}"):
        answer = pricing.get_products(ServiceCode=SERVICE, Filters=filters)
    terms = [json.loads(item)["terms"].get("OnDemand", {}) for item in answer["PriceList"]]
    usd = (
        float(dimension["pricePerUnit"]["USD"])
        for offers in terms
        for offer in offers.values()
        for dimension in offer["priceDimensions"].values()
        if "USD" in dimension["pricePerUnit"]
    )
    return min((price for price in usd if price > 0), default=None)


def given_prices(options: Iterable[str], file: Path | None) -> dict[str, float]:
    """Return what `--price` and `--prices` say, by instance type; a bare number is of every type.

    Raises:
        PriceError: every part that is no price, and a file that cannot be read.
    """
    said: dict[str, Any] = {}
    if file is not None:
        try:
            said |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise PriceError(f'--prices {file}: must be JSON such as {{"ml.m5.xlarge": 0.23}} ({error})') from error
    for option in options:
        name, _, price = option.rpartition("=")
        said[name or "*"] = price
    prices, wrong = {}, []
    for name, value in said.items():
        try:
            prices[name] = float(value)
        except (TypeError, ValueError):
            prices[name] = -1.0
        if not 0 <= prices[name] < float("inf"):
            where = "" if name == "*" else f"{name}="
            wrong.append(
                f"--price {where}{value}: must be a price of an instance-hour from 0 on, alone or as TYPE=PRICE"
            )
    if wrong:
        raise PriceError("\n".join(wrong))
    return prices
