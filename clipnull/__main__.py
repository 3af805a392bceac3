"""``python -m clipnull`` is the ``clipnull`` command."""

from clipnull.cli import main

raise SystemExit(main())
