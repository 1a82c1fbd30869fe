/** Owns waiting in specs: for a condition, with a deadline, never for a time that hopes. */

/** Resolves with the first value that is neither false nor undefined; rejects after `withinMs` with the last failure. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  withinMs = 5_000,
): Promise<Exclude<T, false | undefined>> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== undefined) return value as Exclude<T, false | undefined>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms for: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Rejects where the promise is still pending after `withinMs`. */
export async function within<T>(what: string, promise: Promise<T>, withinMs = 5_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${withinMs} ms for: ${what}`)), withinMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
