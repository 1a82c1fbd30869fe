import { expect } from 'chai';
import type { KubeEvent } from '../../../lib/model/event.js';
import { ApiServer, status } from '../../support/api-server/api-server.js';
import { until, within } from '../../support/until.js';
import { type Following, follow } from './support.js';

const event = (note: string, name = 'web'): KubeEvent => ({
  type: 'Warning',
  reason: 'NotServed',
  action: 'PlanService',
  regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'work', name },
  note,
});

/** Of an Event as the server got it, what is not random. */
interface Written {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly eventTime: string;
  readonly note: string;
}

describe('Events at the API server', () => {
  let server: ApiServer;
  let following: Following;

  beforeEach(async () => {
    server = await ApiServer.start();
    following = await follow(server);
  });

  afterEach(async () => {
    await following.stop();
    await server.close();
  });

  const isPost = ({ method }: { readonly method: string }) => method === 'POST';
  const posts = () => server.requests.filter(isPost);
  const written = () => server.created.map(({ object }) => object as Written);

  it('are written as events.k8s.io/v1 wants them, in the namespace of their object', async () => {
    following.source.writeEvent(event('port 80/SCTP is not served'));
    const [created] = await until('the Event', () => server.created.length > 0 && server.created);
    expect(created?.path).to.equal('/apis/events.k8s.io/v1/namespaces/work/events');
    const { metadata, eventTime, ...others } = (created?.object ?? {}) as Written;
    expect(others).to.deep.equal({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      reportingController: 'kproxy-us',
      reportingInstance: 'kproxy-us-node-a',
      type: 'Warning',
      reason: 'NotServed',
      action: 'PlanService',
      regarding: { apiVersion: 'v1', kind: 'Service', namespace: 'work', name: 'web' },
      note: 'port 80/SCTP is not served',
    });
    expect(metadata.namespace).to.equal('work');
    expect(metadata.name).to.match(/^web\.[0-9a-f]{16}$/);
    expect(eventTime).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  it('of a Node stand in the namespace default, with its name as its uid, as those of kubelet and kube-proxy', async () => {
    const regarding = { apiVersion: 'v1', kind: 'Node', namespace: undefined, name: 'node-a' } as const;
    following.source.writeEvent({ ...event(''), regarding });
    await until('the Event', () => server.created.length > 0);
    expect(server.created[0]?.path).to.equal('/apis/events.k8s.io/v1/namespaces/default/events');
    expect(server.created[0]?.object).to.deep.include({
      regarding: { apiVersion: 'v1', kind: 'Node', name: 'node-a', uid: 'node-a' },
    });
  });

  it('have a note of at most 1 KiB and a name of at most 253 characters, whatever they are about', async () => {
    following.source.writeEvent(event('é'.repeat(2_000), `${'a'.repeat(199)}-${'b'.repeat(53)}`));
    await until('the Event', () => server.created.length > 0);
    const [{ note, metadata } = { note: '', metadata: { name: '' } }] = written();
    expect(Buffer.byteLength(note)).to.be.greaterThan(1_000).and.at.most(1_024);
    expect(metadata.name).to.match(/^a{199}\.[0-9a-f]{16}$/);
  });

  it('are written in order once a server that failed is well again (Y4)', async () => {
    server.fail({ when: isPost, action: { status: 500 }, times: 2 });
    server.fail({ when: isPost, action: { status: 429, headers: { 'Retry-After': '1' } } });
    server.fail({ when: isPost, action: 'reset' });
    following.source.writeEvent(event('first'));
    following.source.writeEvent(event('second'));
    await until('both', () => server.created.length === 2);
    expect(written().map(({ note }) => note)).to.deep.equal(['first', 'second']);
    expect(posts()).to.have.length(6);
  });

  it('are given up where the server says no, and the next one is tried', async () => {
    server.fail({ when: isPost, action: { status: 422 } });
    following.source.writeEvent(event('bad'));
    following.source.writeEvent(event('good'));
    await until('the second', () => server.created.length === 1);
    expect(written().map(({ note }) => note)).to.deep.equal(['good']);
  });

  it('that may not be written are said once, with verb, resource and what is lost, and asked for no more', async () => {
    const message = 'events.events.k8s.io is forbidden: User "x" cannot create resource "events"';
    server.fail({ when: isPost, action: { status: 403, body: status(403, 'Forbidden', message) }, times: 10 });
    for (const note of ['a', 'b', 'c']) following.source.writeEvent(event(note));
    const said = () => following.lines.filter((line) => line.message === 'a permission is missing at the API server');
    await until('the line', () => said().length > 0);
    following.source.writeEvent(event('d'));
    await following.stop();
    expect(posts()).to.have.length(1);
    expect(said().map(({ level, fields }) => ({ level, ...fields }))).to.deep.equal([
      {
        level: 'warn',
        verb: 'create',
        resource: 'events.events.k8s.io',
        lost: 'Events about the Node and Services; the log says the same',
        answer: message,
      },
    ]);
  });

  it('that wait for a server that is away are bounded, and hold up no end', async () => {
    await server.down();
    for (let n = 0; n < 10_000; n++) following.source.writeEvent(event(`${n}`));
    await within('the end', following.stop());
    await server.up();
    expect(server.created).to.deep.equal([]);
  });
});
