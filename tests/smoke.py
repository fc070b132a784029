"""One of everything, for an installed package without test tools (.ci/packages)."""

import os
import sys
import tempfile

import numpy as np

import jspgfn
import sklearn

X = jspgfn.simulate.linear_gaussian(n_variables=4, n_samples=50, random_state=0).X
est = jspgfn.JSPGFN(n_iter=20).fit(X)
jspgfn.StructureMCMC(n_moves=100_000).fit(X).sample(5)
jspgfn.ExactPosterior("bdeu").fit((X > 0).astype(int)).sample(5)
paper = {**jspgfn.PAPER, "n_iter": 2, "batch_size": 8, "n_theta_samples": 2}
jspgfn.JSPGFN(**paper).fit(X).sample(3)
path = os.path.join(tempfile.mkdtemp(), "fit.safetensors")
est.save(path)
one, two = est.sample(5, random_state=1), jspgfn.load(path).sample(5, random_state=1)
assert (one.coef == two.coef).all()
print(
    f"python {sys.version.split()[0]}, numpy {np.__version__}, "
    f"scikit-learn {sklearn.__version__}: fine"
)
