// SPDX-License-Identifier: Apache-2.0
//! Medians of what was measured, and how they compare, as a table for people.

#[derive(Clone)]
pub struct Series {
    name: String,
    values: Vec<f64>,
}

impl Series {
    pub fn new(name: &str) -> Series {
        Series { name: name.to_string(), values: Vec::new() }
    }

    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        f64::midpoint(low, high)
    }
}

/// One line per module and quantity: median, extremes, the ratio to the median of every module, and what it
/// costs over the first module, divided by the domains, in a unit of which `factor` make one.
pub fn print(quantities: &[(&str, &[Series])], (unit, factor): (&str, f64), domains: usize) {
    for (quantity, all) in quantities {
        let width = all.iter().map(|series| series.name.len()).max().unwrap_or(0).max(8);
        let column = |series: &Series| series.name.len().max(7) + 1;
        print!("{quantity:>width$} {:>9} {:>9} {:>9}", "median", "min", "max");
        all.iter().for_each(|other| print!(" {:>1$}", format!("/{}", other.name), column(other)));
        println!("  over {}, {unit}", all[0].name);
        for series in *all {
            let (sorted, median) = (series.sorted(), series.median());
            print!("{:>width$} {median:9.3} {:9.3} {:9.3}", series.name, sorted[0], sorted[sorted.len() - 1]);
            all.iter().for_each(|other| print!(" {:1$.2}", median / other.median(), column(other)));
            println!("  {:.0}", (median - all[0].median()) * factor / domains as f64);
        }
    }
}

/// How the series of this name compares with each other one, value by value: the median of the ratios, and
/// between what the true median lies in 95 of 100 cases (by order, whatever the distribution).
pub fn print_ratios(all: &[Series], name: &str) {
    let Some(own) = all.iter().find(|series| series.name == name) else { return };
    for other in all.iter().filter(|series| series.name != name) {
        let ratios = own.values.iter().zip(&other.values).map(|(own, other)| own / other).collect();
        let ratios = Series { name: String::new(), values: ratios };
        let (sorted, count) = (ratios.sorted(), ratios.values.len() as f64);
        let off = 0.98 * count.sqrt();
        let at = |index: f64| sorted[(index.max(0.0) as usize).min(sorted.len() - 1)];
        let (low, high) = (at((count / 2.0 - off).floor()), at((count / 2.0 + off).ceil()));
        println!("{name} / {}: {:.3} ({low:.3} to {high:.3})", other.name, ratios.median());
    }
}
