# SPDX-License-Identifier: Apache-2.0
"""Postwarden, a secure SMTP gateway. Read `pipeline.py` first."""

__version__ = "0.1.0"
