/**
 * Owns a backend's address as connect(2) wants it, encoded once per target.
 *
 *   Target -> destinationOf -> family, address, length -> connect
 */
import type { Target } from '../../balance/target.js';
import { Memory } from '../../sys/memory.js';
import { SOCKADDR_BYTES, writeSockaddr } from '../../sys/sockaddr.js';
import { familyNumber } from '../../sys/socket.js';

export class Destination {
  readonly #sockaddr = new Memory(SOCKADDR_BYTES);
  readonly family: number;
  readonly address = this.#sockaddr.address;
  readonly length: number;

  constructor({ backend }: Target) {
    this.family = familyNumber(backend.host);
    this.length = writeSockaddr(this.#sockaddr, 0, backend.host, backend.port);
  }
}

export function destinationOf(target: Target): Destination {
  const known = target.engineData;
  if (known instanceof Destination) return known;
  const destination = new Destination(target);
  target.engineData = destination;
  return destination;
}
