//! Value over (or under) its limit.

/// How a value is held against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Bad when greater.
    Above,
    /// Bad when less.
    Below,
    /// Bad when greater or equal.
    AtLeast,
    /// Bad when less or equal.
    AtMost,
    /// Bad when equal.
    Equal,
    /// Bad when not equal.
    NotEqual,
}

impl Op {
    /// Whether both find the same side of a limit bad.
    pub fn is_like(self, other: Self) -> bool {
        let side = |op| match op {
            Self::Above | Self::AtLeast => 0,
            Self::Below | Self::AtMost => 1,
            Self::Equal => 2,
            Self::NotEqual => 3,
        };
        side(self) == side(other)
    }
}

/// Two limits with their clearing values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Direction.
    pub op: Op,
    /// Limit of the warn level.
    pub warn: Option<f64>,
    /// Limit of the critical level.
    pub critical: Option<f64>,
    /// Explicit clearing value; without one a level clears 5 % of its limit away from it.
    pub clear: Option<f64>,
    /// The value is a whole number: 5 % of a small limit are none of it. A process that is there again (fewer than 1 were) is there.
    pub whole: bool,
}

/// How far below its limit a level clears when the configuration does not say: 5 % of the limit.
pub const CLEAR_SHARE: f64 = 0.05;

/// Where a value lies relative to one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Beyond the limit.
    Beyond,
    /// Between the limit and its clearing value: whatever was true stays true.
    Between,
    /// Clear.
    Clear,
}

impl Limits {
    /// Judges `value` against one of the limits.
    pub fn judge(&self, value: f64, limit: f64) -> Verdict {
        let clear = self.clear_of(limit);
        let (beyond, cleared) = match self.op {
            Op::Above => (value > limit, value <= clear),
            Op::Below => (value < limit, value >= clear),
            Op::AtLeast => (value >= limit, value <= clear),
            Op::AtMost => (value <= limit, value >= clear),
            Op::Equal => (is_same(value, limit), true),
            Op::NotEqual => (!is_same(value, limit), true),
        };
        match (beyond, cleared) {
            (true, _) => Verdict::Beyond,
            (false, true) => Verdict::Clear,
            (false, false) => Verdict::Between,
        }
    }

    /// Value at which a level with this limit clears. An explicit `clear` beyond the limit
    /// (possible for the lower of two levels) is held at the limit. It ends the alert: a critical one of two levels is
    /// a warning again by its own margin, if that comes first.
    pub fn clear_of(&self, limit: f64) -> f64 {
        let margin = limit.abs() * CLEAR_SHARE;
        let margin = if self.whole { margin.floor() } else { margin };
        let is_upper = self.critical == Some(limit) && self.warn.is_some_and(|warn| warn.ne(&limit));
        match (self.op, self.clear) {
            (Op::Above | Op::AtLeast, Some(clear)) if is_upper => clear.max(limit - margin).min(limit),
            (Op::Below | Op::AtMost, Some(clear)) if is_upper => clear.min(limit + margin).max(limit),
            (Op::Above | Op::AtLeast, Some(clear)) => clear.min(limit),
            (Op::Below | Op::AtMost, Some(clear)) => clear.max(limit),
            (Op::Above | Op::AtLeast, None) => limit - margin,
            (Op::Below | Op::AtMost, None) => limit + margin,
            (Op::Equal | Op::NotEqual, _) => limit,
        }
    }
}

/// Equal but for what arithmetic leaves in the last digits.
fn is_same(a: f64, b: f64) -> bool {
    a.is_finite() && (a - b).abs() <= a.abs().max(b.abs()) * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(op: Op, clear: Option<f64>, value: f64, expect: Verdict) {
        let limits = Limits { op, warn: None, critical: Some(80.0), clear, whole: false };
        assert_eq!(limits.judge(value, 80.0), expect, "{op:?} {clear:?} {value}");
    }

    #[test]
    fn an_explicit_value_ends_the_alert_and_the_upper_level_has_its_own_margin() {
        let check = |op, clear, expect: (f64, f64)| {
            let limits = Limits { op, warn: Some(80.0), critical: Some(100.0), clear, whole: false };
            assert_eq!((limits.clear_of(80.0), limits.clear_of(100.0)), expect, "{op:?} {clear:?}");
        };
        check(Op::Above, Some(60.0), (60.0, 95.0));
        check(Op::Above, Some(97.0), (80.0, 97.0));
        check(Op::Above, None, (76.0, 95.0));
        let below = |clear, expect: (f64, f64)| {
            let limits =
                Limits { op: Op::Below, warn: Some(100.0), critical: Some(80.0), clear, whole: false };
            assert_eq!((limits.clear_of(100.0), limits.clear_of(80.0)), expect, "{clear:?}");
        };
        below(Some(120.0), (120.0, 84.0));
        below(Some(82.0), (100.0, 82.0));
    }

    #[test]
    fn judged_with_hysteresis() {
        check(Op::Above, None, 80.1, Verdict::Beyond);
        check(Op::Above, None, 80.0, Verdict::Between);
        check(Op::Above, None, 76.1, Verdict::Between);
        check(Op::Above, None, 76.0, Verdict::Clear);
        check(Op::Above, Some(60.0), 61.0, Verdict::Between);
        check(Op::Above, Some(60.0), 60.0, Verdict::Clear);
        check(Op::Above, Some(99.0), 80.0, Verdict::Clear);
        check(Op::Below, None, 79.9, Verdict::Beyond);
        check(Op::Below, None, 84.0, Verdict::Clear);
        check(Op::Above, None, f64::INFINITY, Verdict::Beyond);
        check(Op::AtLeast, None, 80.0, Verdict::Beyond);
        check(Op::AtLeast, Some(80.0), 80.0, Verdict::Beyond);
        check(Op::AtLeast, None, 79.9, Verdict::Between);
        check(Op::AtLeast, None, 76.0, Verdict::Clear);
        check(Op::AtMost, None, 80.0, Verdict::Beyond);
        check(Op::AtMost, None, 83.0, Verdict::Between);
        check(Op::AtMost, None, 84.0, Verdict::Clear);
        check(Op::Equal, None, 80.0, Verdict::Beyond);
        check(Op::Equal, Some(1.0), 80.1, Verdict::Clear);
        check(Op::NotEqual, None, 80.0, Verdict::Clear);
        check(Op::NotEqual, None, f64::INFINITY, Verdict::Beyond);
        let whole = |op, limit, value| {
            Limits { op, warn: None, critical: Some(limit), clear: None, whole: true }.judge(value, limit)
        };
        assert_eq!([0.0, 1.0].map(|value| whole(Op::Below, 1.0, value)), [Verdict::Beyond, Verdict::Clear]);
        assert_eq!([4.0, 3.0].map(|value| whole(Op::Above, 3.0, value)), [Verdict::Beyond, Verdict::Clear]);
        assert_eq!([39.0, 40.0].map(|value| whole(Op::Above, 40.0, value)), [Verdict::Between; 2]);
    }
}
