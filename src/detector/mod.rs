//! The detector's description: readout, PMT types, pulse shape, scintillation; presets and detector files.
