from hypothesis import settings

# The same examples on every run, and no time limit on a loaded machine.
settings.register_profile("rvpo", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("rvpo")
