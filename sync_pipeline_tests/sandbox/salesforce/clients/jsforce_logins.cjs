// Logins of jsforce by name: {url, login, ...} comes in on stdin, what the connection then sees goes out on stdout.
const jsforce = require('jsforce');

const app = (asked, more) =>
  new jsforce.OAuth2({ loginUrl: asked.url, clientId: asked.clientId, clientSecret: asked.clientSecret, ...more });

const MARKS = { quot: '"', '#x27': "'", lt: '<', gt: '>', amp: '&' };
const plain = (text) => text.replace(/&(quot|#x27|lt|gt|amp);/g, (_, name) => MARKS[name]);

// A person who opens the page and presses "allow". Returns the address of the callback instead of opening it.
async function allow(address) {
  const page = await (await fetch(address)).text();
  const form = new URLSearchParams({ decision: 'allow' });
  for (const [, name, value] of page.matchAll(/<input type="hidden" name="(\w+)" value="(.*?)">/g)) {
    form.append(name, plain(value));
  }
  const action = new URL(page.match(/<form method="post" action="(.*?)">/)[1], address);
  const answer = await fetch(action, { method: 'POST', body: form, redirect: 'manual' });
  return new URL(answer.headers.get('location'));
}

async function throughTheBrowser(asked) {
  const oauth2 = app(asked, { redirectUri: asked.callback, useVerifier: true });
  const connection = new jsforce.Connection({ oauth2 });
  const callback = await allow(oauth2.getAuthorizationUrl({ scope: 'api refresh_token', state: 'x' }));
  await connection.authorize(callback.searchParams.get('code'));
  return connection;
}

async function withPassword(asked, options) {
  const connection = new jsforce.Connection(options);
  await connection.login(asked.username, asked.password);
  return connection;
}

async function authorized(connection, params) {
  await connection.authorize(params);
  return connection;
}

const logins = {
  soap: (asked) => withPassword(asked, { loginUrl: asked.url }),
  password: (asked) => withPassword(asked, { oauth2: app(asked) }),
  browser: throughTheBrowser,
  refresh: async (asked) => {
    const { instanceUrl, refreshToken } = await throughTheBrowser(asked);
    const connection = new jsforce.Connection({ oauth2: app(asked), instanceUrl, accessToken: 'ended', refreshToken });
    connection.on('refresh', (token) => { connection.refreshed = token; });
    return connection;
  },
  jwt: (asked) =>
    authorized(new jsforce.Connection({ oauth2: app(asked) }), {
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: asked.assertion,
    }),
  clientCredentials: (asked) =>
    authorized(new jsforce.Connection({ oauth2: app(asked) }), { grant_type: 'client_credentials' }),
  session: async (asked) =>
    new jsforce.Connection({ serverUrl: `${asked.url}/services/Soap/u/50.0`, sessionId: asked.token }),
};

async function main() {
  const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  try {
    const connection = await logins[asked.login](asked);
    const { records } = await connection.query('SELECT Id FROM Organization');
    const seen = { organization: records[0].Id, refreshed: connection.accessToken === connection.refreshed };
    if (asked.logout) {
      await connection.logout();
    }
    return seen;
  } catch (error) {
    return { error: error.errorCode || error.name, message: error.message };
  }
}

main().then((answer) => process.stdout.write(JSON.stringify(answer)));
