//! The Hammer projection of the sphere: directions on a plane, equal solid angles on equal areas.

use crate::math;

/// Returns a direction in the Hammer projection, in units of its half-axes: x from -1 to 1 to the right, y from -1 to 1 up.
/// `None` for the centre, which has no direction. The map shows the sphere from outside with +z on top, +x in the middle
/// and +y to the right of it.
///
/// `x = 2 sqrt(2) cos(phi) sin(lambda / 2) / w`, `y = sqrt(2) sin(phi) / w`, `w = sqrt(1 + cos(phi) cos(lambda / 2))`, here
/// divided by the half-axes (J. P. Snyder, Map Projections, USGS Professional Paper 1395, p. 232).
#[must_use]
pub fn hammer(position: [f64; 3]) -> Option<(f64, f64)> {
    let [x, y, z] = position;
    let radius = math::hypot(math::hypot(x, y), z);
    if !(radius > 0.0 && radius.is_finite()) {
        return None;
    }
    let sin_phi = (z / radius).clamp(-1.0, 1.0);
    let cos_phi = (1.0 - sin_phi * sin_phi).max(0.0).sqrt();
    let half = math::atan2(y, x) / 2.0;
    let w = (1.0 + cos_phi * math::cos(half)).sqrt();
    Some((cos_phi * math::sin(half) / w, sin_phi / w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_has_its_axes_where_it_says() {
        let near = |a: (f64, f64), b: (f64, f64)| math::hypot(a.0 - b.0, a.1 - b.1) < 1e-7;
        assert!(near(hammer([5.0, 0.0, 0.0]).unwrap(), (0.0, 0.0)));
        assert!(near(hammer([0.0, 0.0, 2.0]).unwrap(), (0.0, 1.0)));
        assert!(near(hammer([0.0, 0.0, -2.0]).unwrap(), (0.0, -1.0)));
        assert!(near(hammer([-1.0, 1e-12, 0.0]).unwrap(), (1.0, 0.0)));
        assert!(hammer([0.0, 3.0, 0.0]).unwrap().0 > 0.0);
        assert_eq!(hammer([0.0, 0.0, 0.0]), None);
        assert_eq!(hammer([f64::NAN, 0.0, 1.0]), None);
    }

    #[test]
    fn equal_solid_angles_have_equal_areas() {
        // The determinant of the derivatives by longitude and sin(latitude) is the same everywhere.
        let place = |longitude: f64, sin_phi: f64| {
            let cos_phi = (1.0 - sin_phi * sin_phi).sqrt();
            let direction = [
                cos_phi * math::cos(longitude),
                cos_phi * math::sin(longitude),
                sin_phi,
            ];
            hammer(direction).unwrap()
        };
        let step = 1e-5;
        for (longitude, sin_phi) in [(0.0, 0.0), (1.0, 0.5), (-2.5, -0.8), (3.0, 0.1)] {
            let (a, b) = (
                place(longitude - step, sin_phi),
                place(longitude + step, sin_phi),
            );
            let (c, d) = (
                place(longitude, sin_phi - step),
                place(longitude, sin_phi + step),
            );
            let determinant = (b.0 - a.0) * (d.1 - c.1) - (b.1 - a.1) * (d.0 - c.0);
            // An ellipse of half-axes 1 has the area pi, the sphere 4 pi.
            assert!((determinant / (4.0 * step * step) - 0.25).abs() < 1e-4);
        }
    }
}
