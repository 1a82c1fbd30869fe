/**
 * Owns looking into JSON that has not been checked: what is asked across fields must be asked even where some are bad, so
 * that all faults of an object come together (rule C1).
 */

/** Own fields only: `__proto__` and `constructor` of the input lead nowhere. */
export function field(json: unknown, ...path: readonly string[]): unknown {
  let value = json;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value ?? undefined;
}

export function items(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}

/** undefined where there is no such label. */
export function labelOf(json: unknown, name: string): unknown {
  return field(json, 'metadata', 'labels', name);
}
