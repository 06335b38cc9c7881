import pytest
from support import query_cases

CASES = query_cases.read_all()[1]


@pytest.fixture(scope="module")
def faults(gateway):
    return query_cases.sdk_faults("python", gateway)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case, request):
    case.check("sdk", lambda: request.getfixturevalue("faults"))
