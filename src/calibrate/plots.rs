//! Pictures of a calibration.
