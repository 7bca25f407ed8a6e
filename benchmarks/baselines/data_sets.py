"""What the baselines train on, by name; each says which settings, networks and optimiser."""

import adult
import mnist

DATA_SETS = {"mnist": mnist, "adult": adult}
