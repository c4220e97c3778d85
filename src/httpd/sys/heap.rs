// SPDX-License-Identifier: Apache-2.0
//! The heap that the parent hands on to its children.

/// Chunks that the C library puts in order in one allocation, at the most.
#[cfg(target_env = "gnu")]
const PER_REQUEST: usize = 10_000;
/// Larger than what the library ever takes from its heap, so that it comes from the system and goes back there. The
/// library would take a smaller block that is freed for a reason to have larger ones of all modules in its heap from
/// then on (`M_MMAP_THRESHOLD` in mallopt(3)).
#[cfg(target_env = "gnu")]
const LARGE: usize = (32 << 20) + (1 << 16);

/// Gives free pages back, and has the C library sort what else is free. A start leaves free chunks all over the
/// heap. The library sorts these when it next looks for a large one, which is in each child, and so has each child
/// copy the pages they lie in: half of the heap, without any use.
#[cfg(target_env = "gnu")]
pub fn tidy() {
    // SAFETY: these calls have no preconditions. The block that is allocated is freed, and never used.
    unsafe {
        libc::malloc_trim(0);
        let chunks = usize::try_from(libc::mallinfo().ordblks).unwrap_or(0);
        for _ in 0..=chunks / PER_REQUEST {
            libc::free(std::hint::black_box(libc::malloc(LARGE)));
        }
    }
}

/// Only glibc is known to need it.
#[cfg(not(target_env = "gnu"))]
pub fn tidy() {}
