//! Who goes first among the containers of a node that grow in the same second: lower ranks first, and within a class the most urgent.

use serde::Serialize;

use super::container::Growth;
use crate::urgency::{Weights, net_flows, score};

/// How urgency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranker {
    /// Fixed-range TOPSIS, by which the aggregator decides: of each one alone.
    Topsis,
    /// PROMETHEE II: net flows among those at hand.
    Promethee,
}

impl Ranker {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Ranker::Topsis => "topsis",
            Ranker::Promethee => "promethee",
        }
    }

    fn scores(self, growths: &[Growth], weights: &Weights) -> Vec<f64> {
        let criteria: Vec<_> = growths.iter().map(|growth| growth.criteria).collect();
        match self {
            Ranker::Topsis => criteria.iter().map(|criteria| score(criteria, weights)).collect(),
            Ranker::Promethee => net_flows(&criteria, weights),
        }
    }

    /// The places of the growths, those that go first before the others.
    fn order(self, growths: &[Growth], weights: &Weights) -> Vec<(usize, f64)> {
        let mut order: Vec<(usize, f64)> = self.scores(growths, weights).into_iter().enumerate().collect();
        let name = |growth: &Growth| (growth.pod.clone(), growth.container.clone());
        order.sort_by(|(a, score_a), (b, score_b)| {
            let (a, b) = (&growths[*a], &growths[*b]);
            let by_urgency = score_b.total_cmp(score_a);
            a.rank().cmp(&b.rank()).then(by_urgency).then_with(|| name(a).cmp(&name(b)))
        });
        order
    }
}

/// One moment in which several want more.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Seconds from the start.
    pub at: u64,
    /// The node.
    pub node: String,
    /// How they are ranked.
    pub ranker: Ranker,
    /// `pod container`, with its score, those that go first before the others.
    pub first: Vec<(String, f64)>,
    /// The same by TOPSIS, where that is another order.
    pub topsis: Option<Vec<(String, f64)>>,
}

impl Order {
    /// Puts growths in order; an order, if they are several.
    pub(super) fn of(
        at: u64,
        node: &str,
        growths: &mut Vec<Growth>,
        ranker: Ranker,
        weights: &Weights,
    ) -> Option<Order> {
        if growths.len() < 2 {
            return None;
        }
        let named = |order: &[(usize, f64)]| -> Vec<(String, f64)> {
            let name = |growth: &Growth| format!("{} {}", growth.pod, growth.container);
            order.iter().map(|(place, score)| (name(&growths[*place]), *score)).collect()
        };
        let order = ranker.order(growths, weights);
        let topsis = Ranker::Topsis.order(growths, weights);
        let places = |order: &[(usize, f64)]| order.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        let is_different = places(&order) != places(&topsis);
        let result = Order {
            at,
            node: node.to_owned(),
            ranker,
            first: named(&order),
            topsis: is_different.then(|| named(&topsis)),
        };
        *growths = order.iter().map(|(place, _)| growths[*place].clone()).collect();
        Some(result)
    }

    /// Whether TOPSIS orders them otherwise.
    pub fn differs(&self) -> bool {
        self.topsis.is_some()
    }
}
