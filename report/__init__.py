"""Answers as one HTML file that a chemist reads, without network."""

from .report import Report

__all__ = ["Report"]
