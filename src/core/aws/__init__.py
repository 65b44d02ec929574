"""The only boto3 and the only clock: adapters of `core.ports`."""
