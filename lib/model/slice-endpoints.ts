/**
 * Owns the endpoints of one slice as they are kept: all addresses in one text, and for each a reference to what it shares
 * with others. Ten endpoints take 300 bytes instead of 1,200.
 *
 *   SliceEndpoint[] -> SliceEndpoints.of -> iterate -> SliceEndpoint, SliceEndpoint, ...
 */
import { Repeated } from '../config/repeated.js';
import type { SliceEndpoint } from './objects.js';

/** Everything of an endpoint but its address. */
type Traits = Omit<SliceEndpoint, 'address'>;

/** Two of the same value are equal by deep comparison. */
export class SliceEndpoints implements Iterable<SliceEndpoint> {
  private constructor(
    private readonly addresses: string,
    private readonly traits: readonly Traits[],
  ) {
    Object.freeze(this);
  }

  static of(endpoints: readonly SliceEndpoint[]): SliceEndpoints {
    const addresses = endpoints.map(({ address }) => address).join(' ');
    return new SliceEndpoints(addresses, Object.freeze(endpoints.map(shared)));
  }

  get length(): number {
    return this.traits.length;
  }

  *[Symbol.iterator](): Generator<SliceEndpoint> {
    let from = 0;
    for (const traits of this.traits) {
      const space = this.addresses.indexOf(' ', from);
      const end = space < 0 ? this.addresses.length : space;
      yield { address: this.addresses.slice(from, end), ...traits };
      from = end + 1;
    }
  }
}

/** A cluster has few nodes and zones, and many endpoints: one object for those that differ in the address alone. */
const repeated = new Repeated<Traits>();

function shared({ ready, serving, terminating, nodeName, zoneHints, nodeHints }: SliceEndpoint): Traits {
  const hints = [zoneHints.length, ...zoneHints, ...nodeHints];
  const text = [ready, serving, terminating, nodeName, ...hints].join(' ');
  return repeated.one(text, Object.freeze({ ready, serving, terminating, nodeName, zoneHints, nodeHints }));
}
