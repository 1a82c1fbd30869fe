import { expect } from 'chai';
import { Connections, ESTABLISHED, FREE } from '../../../lib/relay/native/connections.js';
import { IN, OUT } from '../../../lib/relay/native/flags.js';
import type { Listener } from '../../../lib/relay/native/listener.js';

const LISTENER = {} as Listener;

describe('Connections', () => {
  it('gives a slot that is used again another generation at both sockets: old events never meet the new owner', () => {
    const connections = new Connections(2, () => undefined);
    const first = connections.begin(LISTENER, 10, 0);
    const before = [connections.generation[2 * first], connections.generation[2 * first + 1]];
    connections.end(first);
    const second = connections.begin(LISTENER, 10, 0);
    expect(second).to.equal(first);
    expect(connections.generation[2 * second]).to.not.equal(before[0]);
    expect(connections.generation[2 * second + 1]).to.not.equal(before[1]);
  });

  it('begins with nothing of what was before', () => {
    const connections = new Connections(1, () => undefined);
    const c = connections.begin(LISTENER, 10, 5);
    for (const s of [2 * c, 2 * c + 1]) {
      connections.flags[s] = 0x7fffffff;
      connections.pending[s] = 9;
      connections.bytes[s] = 9;
    }
    connections.state[c] = ESTABLISHED;
    connections.drainAt[c] = 9;
    connections.attempts[c] = 9;
    connections.tried[c] = [];
    connections.client[c] = '10.0.0.1';
    connections.end(c);
    expect(connections.state[c]).to.equal(FREE);
    expect(connections.begin(LISTENER, 11, 6)).to.equal(c);
    expect([connections.fd[2 * c], connections.fd[2 * c + 1]]).to.deep.equal([11, -1]);
    expect([connections.flags[2 * c], connections.flags[2 * c + 1]]).to.deep.equal([OUT, 0]);
    for (const s of [2 * c, 2 * c + 1]) expect([connections.pending[s], connections.bytes[s]]).to.deep.equal([0, 0]);
    expect([connections.drainAt[c], connections.attempts[c], connections.acceptedAt[c]]).to.deep.equal([0, 0, 6]);
    expect([connections.tried[c], connections.client[c], connections.target[c]]).to.deep.equal(
      new Array(3).fill(undefined),
    );
  });

  it('keeps what it has when it grows', () => {
    const grown: number[] = [];
    const connections = new Connections(2, (capacity) => grown.push(capacity));
    const slots = Array.from({ length: 5 }, (_, index) => connections.begin(LISTENER, 100 + index, index));
    expect(new Set(slots).size).to.equal(5);
    expect(grown).to.deep.equal([4, 8]);
    for (const [index, c] of slots.entries()) {
      connections.flags[2 * c] = IN;
      expect([connections.fd[2 * c], connections.acceptedAt[c]]).to.deep.equal([100 + index, index]);
    }
    expect(connections.slots.used).to.equal(5);
  });
});
