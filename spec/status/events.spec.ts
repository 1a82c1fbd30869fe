import { expect } from 'chai';
import type { KubeEvent } from '../../lib/model/event.js';
import { EventRecorder } from '../../lib/status/events.js';
import { FakeClock } from '../support/clock.js';

const MINUTE_MS = 60_000;

describe('Events', () => {
  let clock: FakeClock;
  let written: KubeEvent[];
  let events: EventRecorder;

  beforeEach(() => {
    clock = new FakeClock();
    written = [];
    events = new EventRecorder((event) => void written.push(event), 'node-a', clock);
  });

  it('say of the Node that we start, as kube-proxy does', () => {
    events.starting();
    expect(written).to.deep.equal([
      {
        type: 'Normal',
        reason: 'Starting',
        action: 'StartKubeProxy',
        regarding: { apiVersion: 'v1', kind: 'Node', namespace: undefined, name: 'node-a' },
        note: '',
      },
    ]);
  });

  it('say of a Service what is not served (S6, C2), and on which node a port cannot be had (C3)', () => {
    events.notServed('work/web', 'port 80/SCTP is not supported and is not served');
    events.cannotListen('work/web', '0.0.0.0:30080: address in use');
    expect(written.map(({ type, reason, regarding, note }) => [type, reason, regarding, note])).to.deep.equal([
      [
        'Warning',
        'NotServed',
        { apiVersion: 'v1', kind: 'Service', namespace: 'work', name: 'web' },
        'port 80/SCTP is not supported and is not served',
      ],
      [
        'Warning',
        'CannotListen',
        { apiVersion: 'v1', kind: 'Service', namespace: 'work', name: 'web' },
        '0.0.0.0:30080: address in use (node node-a)',
      ],
    ]);
  });

  it('are written once while they last, and again after half an hour', () => {
    for (let minute = 0; minute < 30; minute++) {
      events.cannotListen('work/web', 'in use');
      clock.advance(MINUTE_MS);
    }
    expect(written).to.have.length(1);
    events.cannotListen('work/web', 'in use');
    expect(written).to.have.length(2);
  });

  it('are told apart by object, reason and note', () => {
    events.notServed('work/web', 'a');
    events.notServed('work/web', 'b');
    events.notServed('work/other', 'a');
    events.cannotListen('work/web', 'a');
    expect(written).to.have.length(4);
  });

  it('are 25 at most in a burst of a thousand, then one in ten seconds', () => {
    const burst = (name: string) => {
      for (let n = 0; n < 1_000; n++) events.notServed(`work/${name}-${n}`, 'a');
    };
    burst('first');
    expect(written).to.have.length(25);
    clock.advance(MINUTE_MS);
    burst('second');
    expect(written).to.have.length(31);
    clock.advance(24 * 60 * MINUTE_MS);
    burst('third');
    expect(written).to.have.length(56);
  });

  it('that were dropped for their number are written when they come again', () => {
    for (let n = 0; n < 26; n++) events.notServed(`work/web-${n}`, 'a');
    clock.advance(MINUTE_MS);
    events.notServed('work/web-25', 'a');
    expect(written.at(-1)?.regarding.name).to.equal('web-25');
  });
});
