"""Settings of the property tests: no timing is asserted, and as many examples as fit into seconds."""

from hypothesis import settings

settings.register_profile("analysis", deadline=None, max_examples=30)
settings.load_profile("analysis")  # at import: a test takes the profile that is loaded when it is defined
