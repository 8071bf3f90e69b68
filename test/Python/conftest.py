"""Settings of all tests: the same examples in every run, no files left."""

from hypothesis import settings

settings.register_profile("project", derandomize=True, database=None, deadline=None)
settings.load_profile("project")
