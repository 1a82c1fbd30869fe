/**
 * Owns the ports of redirect listeners: each family and protocol has the whole range for itself, lowest free port first,
 * so that ports in use stay in few runs (the guard rule of R4 names runs).
 */
import type { PortRange } from '../config/options.js';

export class RedirectPorts {
  readonly #range: PortRange;
  readonly #taken = new Map<string, Set<number>>();
  /** Where the next search starts, per space: below it nothing is free. */
  readonly #floor = new Map<string, number>();

  constructor(range: PortRange) {
    this.#range = range;
  }

  /** The lowest free port of a space (`IPv4/TCP`) above `after`, or undefined when none is left. */
  take(space: string, after = 0): number | undefined {
    const taken = this.#space(space);
    const floor = this.#floor.get(space) ?? this.#range.first;
    for (let port = Math.max(floor, after + 1); port <= this.#range.last; port++) {
      if (taken.has(port)) continue;
      taken.add(port);
      if (port === floor) this.#floor.set(space, port + 1);
      return port;
    }
    return undefined;
  }

  /** Takes one port by name, where it is in the range and free (rule Y7). */
  takeExactly(space: string, port: number): boolean {
    const taken = this.#space(space);
    if (port < this.#range.first || port > this.#range.last || taken.has(port)) return false;
    taken.add(port);
    return true;
  }

  release(space: string, port: number): void {
    if (!this.#space(space).delete(port)) return;
    this.#floor.set(space, Math.min(port, this.#floor.get(space) ?? this.#range.first));
  }

  #space(space: string): Set<number> {
    let taken = this.#taken.get(space);
    if (taken === undefined) {
      taken = new Set();
      this.#taken.set(space, taken);
    }
    return taken;
  }
}
