//! What `calibrate light` learns and the fit uses: light maps, time distributions, channels' constants.

/// Light maps, time distributions and channels' constants of one detector.
#[derive(Clone, Debug, PartialEq)]
pub struct LightModel {}
