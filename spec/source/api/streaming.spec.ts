import { expect } from 'chai';
import { ApiServer, type SeenRequest } from '../../support/api-server/api-server.js';
import { History } from '../../support/api-server/history.js';
import { requires } from '../../support/requires.js';
import { until } from '../../support/until.js';
import { serviceJson } from '../objects/kube-json.js';
import { type Following, follow, ManualTimers, slice } from './support.js';

const isSliceWatch = ({ url }: SeenRequest) =>
  url.pathname.endsWith('/endpointslices') && url.searchParams.get('watch') === 'true';

describe('streaming lists (Y4)', () => {
  let server: ApiServer;
  let following: Following;

  before(function () {
    requires(this, 'openssl');
  });

  beforeEach(async () => {
    server = await ApiServer.start({ history: new History(1_000) });
    server.history.put('services', serviceJson());
    server.history.put('slices', slice('a', '10.0.0.1'));
  });

  afterEach(async () => {
    await following.stop();
    await server.close();
  });

  it('take the place of lists where the server knows them', async () => {
    following = await follow(server);
    await until('the first lists', () => following.store.isSynced);
    expect(following.addresses()).to.equal('10.0.0.1');
    expect(server.asked('slices', 'list')).to.have.length(0);
    const [stream] = server.asked('slices', 'watch');
    expect([stream?.get('sendInitialEvents'), stream?.get('resourceVersionMatch')]).to.deep.equal([
      'true',
      'NotOlderThan',
    ]);
    server.history.put('slices', slice('b', '10.0.0.2'));
    await until('the change', () => following.addresses() === '10.0.0.1 10.0.0.2');
    expect(server.asked('slices', 'watch')).to.have.length(1);
  });

  it('derive what was deleted when they begin anew', async () => {
    following = await follow(server);
    await until('the first lists', () => following.store.isSynced);
    server.watches('slices')[0]?.freeze();
    server.history.delete('slices', 'work/a');
    server.history.put('slices', slice('b', '10.0.0.2'));
    server.history.compact();
    server.watches('slices')[0]?.end();
    await until('the present', () => following.addresses() === '10.0.0.2');
    expect(server.asked('slices', 'list')).to.have.length(0);
  });

  it('change nothing before they are complete (Y1)', async () => {
    server.withholdsEnd = true;
    following = await follow(server, { timers: new ManualTimers() });
    const [watch] = await until('the events', () => {
      const watches = server.watches('slices');
      return watches[0]?.sent === 1 && server.watches('services')[0]?.sent === 1 && watches;
    });
    server.watches('services')[0]?.bookmark(server.history.version, true);
    await until('the Services', () => following.services() !== '');
    expect([following.addresses(), following.store.isSynced]).to.deep.equal(['', false]);
    watch?.bookmark(server.history.version, true);
    await until('the slices', () => following.addresses() === '10.0.0.1' && following.store.isSynced);
  });

  it('give way to lists where they never say that they are complete', async () => {
    server.fail({ when: isSliceWatch, action: 'hang' });
    following = await follow(server);
    await until('the first lists', () => following.store.isSynced);
    expect(server.asked('slices', 'list')).to.have.length(1);
  });
});
