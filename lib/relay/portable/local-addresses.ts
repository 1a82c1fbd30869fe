/**
 * Owns the addresses that this machine has, and tells when they change.
 *
 * Node cannot say which address a datagram was sent to (no IP_PKTINFO), so a UDP listener on all addresses is one socket per
 * address, and has to follow them (rule U1). There is no event for a change: it is looked for every 2 s while anybody listens.
 */
import { networkInterfaces } from 'node:os';
import type { IpFamily } from '../../config/address.js';

const POLL_MS = 2_000;

export class LocalAddresses {
  readonly #read: typeof networkInterfaces;
  readonly #subscribers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(read: typeof networkInterfaces = networkInterfaces) {
    this.#read = read;
  }

  /** As of now; link-local ones with their interface, `fe80::1%eth0`. */
  of(family: IpFamily): readonly string[] {
    const found = new Set<string>();
    for (const [name, addresses = []] of Object.entries(this.#read())) {
      for (const { address, family: one, scopeid = 0 } of addresses) {
        if (one === family) found.add(scopeid === 0 ? address : `${address}%${name}`);
      }
    }
    return [...found];
  }

  /** Calls back at every look, changed or not: an address may have been there and not been ready. Returns how to end it. */
  subscribe(look: () => void): () => void {
    this.#subscribers.add(look);
    this.#timer ??= setInterval(() => this.poke(), POLL_MS).unref();
    return () => {
      this.#subscribers.delete(look);
      if (this.#subscribers.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Looks now. */
  poke(): void {
    for (const look of this.#subscribers) look();
  }
}
