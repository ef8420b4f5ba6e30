//! What a detector has to learn from its own data: templates, gains, noise, time offsets.
