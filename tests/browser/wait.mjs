// Every wait has a deadline.

/// The promise's value, or an error once `ms` milliseconds have passed.
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/// Asks `probe` until it gives something true, which is returned; what it gave last is told where it never does.
export async function until(what, probe, ms = 15_000) {
  const end = performance.now() + ms;
  for (;;) {
    const value = await within(ms, what, probe());
    if (value) return value;
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}; last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
