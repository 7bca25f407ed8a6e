"""What the baselines train on, by name; each says which settings, networks and optimiser."""

import adult
import clinc150
import fsdd
import mnist

DATA_SETS = {"mnist": mnist, "adult": adult, "clinc150": clinc150, "fsdd": fsdd}
