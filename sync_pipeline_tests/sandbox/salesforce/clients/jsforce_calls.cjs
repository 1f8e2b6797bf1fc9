// Calls of jsforce by name: one JSON object comes in on stdin ({url, token, call, arguments}), one goes out on stdout.
const jsforce = require('jsforce');

const POLL = { pollInterval: 20, pollTimeout: 20000 };
const aDayAgo = () => new Date(Date.now() - 86400e3);
const soon = () => new Date(Date.now() + 120e3);
const accounts = (connection) => connection.sobject('Account');

const calls = {
  identity: (c) => c.identity(),
  autofetch: async (c, soql) => {
    const { records, totalSize, done } = await c.query(soql, { autoFetch: true, maxFetch: 50000 });
    return { ids: records.map((record) => record.Id), totalSize, done };
  },
  queryMore: async (c, soql) => {
    let page = await c.query(soql);
    const pages = [page.records.length];
    while (!page.done) {
      page = await c.queryMore(page.nextRecordsUrl);
      pages.push(page.records.length);
    }
    return pages;
  },
  scanAll: async (c, soql) => (await c.query(soql, { scanAll: true })).records,
  find: async (c, conditions) => accounts(c).find(conditions, 'Id, Owner.Name').sort({ Name: -1 }).limit(5).execute(),
  findSince: async (c) => accounts(c).find({ SystemModstamp: { $gte: jsforce.SfDate.toDateTimeLiteral(aDayAgo()) } }, 'Id').execute(),
  count: (c, conditions) => accounts(c).count(conditions),
  describe: async (c) => (await c.describe('Account')).fields.map((field) => field.name),
  describeGlobal: async (c) => (await c.describeGlobal()).sobjects.map((sobject) => sobject.name),
  create: (c, records, options) => accounts(c).create(records, options),
  update: (c, records, options) => accounts(c).update(records, options),
  upsert: (c, records, options) => accounts(c).upsert(records, 'Billing_Id__c', options),
  destroy: (c, ids, options) => accounts(c).destroy(ids, options),
  retrieve: (c, ids, options) => accounts(c).retrieve(ids, options),
  deleted: async (c) => (await accounts(c).deleted(aDayAgo(), soon())).deletedRecords.map((record) => record.id),
  updated: async (c) => (await accounts(c).updated(aDayAgo(), soon())).ids,
  limits: async (c) => ({ limits: await c.limits(), seen: c.limitInfo }),
  bulkQuery: async (c, soql, scanAll) => (await c.bulk2.query(soql, { ...POLL, scanAll })).toArray(),
  bulkLoad: (c, options) => c.bulk2.loadAndWaitForResults({ object: 'Account', ...POLL, ...options }),
};

async function main() {
  const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const connection = new jsforce.Connection({ instanceUrl: asked.url, accessToken: asked.token });
  try {
    return { result: await calls[asked.call](connection, ...asked.arguments) };
  } catch (error) {
    return { error: { code: error.errorCode || error.name, message: error.message } };
  }
}

main().then((answer) => process.stdout.write(JSON.stringify(answer)));
