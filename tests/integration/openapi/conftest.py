"""What the tests of the document share."""

import pytest

from support.gateway import Gateway


@pytest.fixture(scope="package")
def open_gateway(postgres):
    """A gateway that asks for no authorization."""
    with Gateway(postgres, args=["--no-auth"]) as running:
        yield running
