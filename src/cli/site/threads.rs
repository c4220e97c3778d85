// SPDX-License-Identifier: Apache-2.0
//! The same work for each of many domains, on all processors. Imports nothing.

/// Calls `work` for each of the items, in as many threads as there are processors, and keeps the order.
pub fn in_threads<T: Sync, R: Send>(items: &[T], work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    /// Fewer are not worth a thread.
    const LEAST: usize = 64;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(processors).max(LEAST);
    let mut out = Vec::with_capacity(items.len());
    std::thread::scope(|scope| {
        let part = |part: &'_ [T]| part.iter().map(work).collect::<Vec<R>>();
        let threads: Vec<_> = items.chunks(size).map(|items| scope.spawn(move || part(items))).collect();
        for thread in threads {
            // A panic goes on in this thread.
            out.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    out
}
