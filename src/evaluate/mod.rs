//! Reconstruction against truth: tables and plots.
