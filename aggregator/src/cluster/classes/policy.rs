//! What the fields of a class mean. Everything that the API server checks is checked again: a stored object may be older than its schema.

use std::time::Duration;

use plimsoll_contract::{Quantity, Resource};
use plimsoll_sizing::policy::{Bound, ControlledValues, Mode, Policy, ResourcePolicy, Window};

use super::schema::{Allowed, ClassMode, Controlled, Day, Period, ResourceSpec, SlaClassSpec, WindowSpec};

/// Windows that are read.
const MAX_WINDOWS: usize = 32;
/// The largest percentage.
const MAX_PERCENT: u32 = 99_999;

impl SlaClassSpec {
    /// The class as it applies.
    ///
    /// # Errors
    /// The first field that is wrong, and why.
    pub(super) fn policy(&self, name: &str) -> Result<Policy, String> {
        if !(self.weight > 0.0 && self.weight <= 1000.0) {
            return Err("spec.weight: not above 0 and at most 1000".to_owned());
        }
        if self.schedule.len() > MAX_WINDOWS {
            return Err(format!("spec.schedule: more than {MAX_WINDOWS} windows"));
        }
        let windows = self.schedule.iter().enumerate();
        Ok(Policy {
            class: name.to_owned(),
            rank: u32::try_from(self.rank).map_err(|_| "spec.rank: below 0".to_owned())?,
            weight: self.weight,
            mode: match self.mode {
                ClassMode::Recommend => Mode::Recommend,
                ClassMode::Apply => Mode::Apply,
            },
            cpu: self.cpu.policy(Resource::Cpu)?,
            memory: self.memory.policy(Resource::Memory)?,
            up_cooldown: self.up_cooldown.duration("spec.upCooldown")?,
            down_hold: self.down_hold.duration("spec.downHold")?,
            memory_window: self.memory_window.duration("spec.memoryWindow")?,
            allow_restart: self.allow_restart,
            schedule: windows
                .map(|(index, window)| window.window(&format!("spec.schedule[{index}]")))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl ResourceSpec {
    fn policy(&self, resource: Resource) -> Result<ResourcePolicy, String> {
        let path = |field: &str| format!("spec.{}.{field}", resource.as_str());
        let shares = [
            ("targetOfLimit", self.target_of_limit),
            ("targetOfRequest", self.target_of_request),
            ("maxStep", self.max_step),
        ];
        if let Some((field, _)) = shares.iter().find(|(_, share)| !(*share > 0.0 && *share <= 1.0)) {
            return Err(format!("{}: not above 0 and at most 1", path(field)));
        }
        let min_allowed = self.min_allowed.bound(&path("minAllowed"), resource)?;
        let max_allowed =
            self.max_allowed.as_ref().map(|most| most.bound(&path("maxAllowed"), resource)).transpose()?;
        let is_empty = match (min_allowed, max_allowed) {
            (Bound::Amount(min), Some(Bound::Amount(max))) => min > max,
            (Bound::OfOriginal(min), Some(Bound::OfOriginal(max))) => min > max,
            _ => false,
        };
        if is_empty {
            return Err(format!("{}: above maxAllowed", path("minAllowed")));
        }
        Ok(ResourcePolicy {
            target_of_limit: self.target_of_limit,
            target_of_request: self.target_of_request,
            max_step: self.max_step,
            min_allowed,
            max_allowed,
            controlled_values: match self.controlled_values {
                Controlled::RequestsAndLimits => ControlledValues::RequestsAndLimits,
                Controlled::RequestsOnly => ControlledValues::RequestsOnly,
                Controlled::LimitsOnly => ControlledValues::LimitsOnly,
            },
            allow_increase: self.allow_increase,
            // Less memory can kill: whoever wants that must say it.
            allow_decrease: self.allow_decrease.unwrap_or(resource == Resource::Cpu),
        })
    }
}

impl Allowed {
    fn bound(&self, path: &str, resource: Resource) -> Result<Bound, String> {
        if let Some(percent) = self.0.strip_suffix('%') {
            let plain = !percent.is_empty() && percent.bytes().all(|byte| byte.is_ascii_digit());
            let percent = percent.parse().ok().filter(|percent| plain && *percent <= MAX_PERCENT);
            return percent
                .map(Bound::OfOriginal)
                .ok_or_else(|| format!("{path}: not a percentage of digits, such as 50%"));
        }
        let quantity: Option<Quantity> = self.0.parse().ok();
        let amount = quantity.map(|quantity| match resource {
            Resource::Cpu => quantity.milli_value(),
            Resource::Memory => quantity.value(),
        });
        let amount = amount.filter(|amount| *amount > 0).and_then(|amount| u64::try_from(amount).ok());
        amount.map(Bound::Amount).ok_or_else(|| {
            format!("{path}: neither a quantity above 0, such as 500m or 64Mi, nor a percentage, such as 50%")
        })
    }
}

impl Period {
    fn duration(&self, path: &str) -> Result<Duration, String> {
        let problem = || format!("{path}: not hours, minutes and seconds, such as 90s or 1h30m");
        let mut rest = self.0.as_str();
        let mut seconds: u64 = 0;
        for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
            let Some((count, after)) = rest.split_once(unit) else { continue };
            let plain = (1..=5).contains(&count.len()) && count.bytes().all(|byte| byte.is_ascii_digit());
            let count: u64 = count.parse().ok().filter(|_| plain).ok_or_else(problem)?;
            (seconds, rest) = (seconds + count * length, after);
        }
        if self.0.is_empty() || !rest.is_empty() { Err(problem()) } else { Ok(Duration::from_secs(seconds)) }
    }
}

impl WindowSpec {
    fn window(&self, path: &str) -> Result<Window, String> {
        let minute = |field: &str, text: &str| {
            let parts = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2);
            let number = |text: &str, below: u16| {
                let plain = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u16>().ok().filter(|number| plain && *number < below)
            };
            let minutes = parts.and_then(|(hour, minute)| Some(number(hour, 24)? * 60 + number(minute, 60)?));
            minutes.ok_or_else(|| format!("{path}.{field}: not a time such as 22:30"))
        };
        let mut days: Vec<u8> = self.days.iter().map(|day| day.number()).collect();
        days.sort_unstable();
        days.dedup();
        Ok(Window { days, from: minute("from", &self.from)?, to: minute("to", &self.to)? })
    }
}

impl Day {
    /// Monday is 1.
    fn number(self) -> u8 {
        match self {
            Day::Monday => 1,
            Day::Tuesday => 2,
            Day::Wednesday => 3,
            Day::Thursday => 4,
            Day::Friday => 5,
            Day::Saturday => 6,
            Day::Sunday => 7,
        }
    }
}
