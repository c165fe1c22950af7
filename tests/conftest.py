"""Settings of all tests."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fastmlp",
    deadline=None,  # the first example compiles
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fastmlp")
