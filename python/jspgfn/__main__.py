"""python -m jspgfn"""

import sys

from ._cli import main

sys.exit(main())
